-- How far each lane was looked through for what nobody was there to get. Apart from the lane's row, which its dispatcher holds.
create table if not exists notify_unreached (
    lane    int    not null primary key,
    through bigint not null default 0, -- the last position that was looked at
    turn    bigint not null default 0  -- until when some node looks at what comes behind it; 0: none does
) engine = InnoDB default charset = utf8mb4 collate = utf8mb4_bin;
