-- How far each lane was looked through for what nobody was there to get.
create table unreached (
    lane    integer primary key,
    through integer not null default 0, -- the last position that was looked at
    turn    integer not null default 0  -- until when somebody looks at what comes behind it; 0: nobody does
) without rowid;
