-- The record: what was accepted and how it ended, on MariaDB and MySQL.
--
-- These engines commit each `create` and `alter` by itself, so a migration may be cut in the middle. The next start runs it again from its
-- beginning: every statement in this folder must be harmless the second time.
--
-- Ids and receivers are bytes: every collation that both engines have either folds case or ignores spaces at the end.

-- One row a partition, held by its dispatcher for as long as it stores a batch. Its epoch fences off zombies.
create table if not exists notify_lane (
    lane       int    not null primary key,
    epoch      bigint not null default 0,
    settled    bigint not null default 0, -- last queue sequence that was dealt with
    position   bigint not null default 0, -- last position given to a row
    doubted    bigint not null default 0, -- rows up to this position may not have been rung
    stored     bigint not null default 0,
    duplicates bigint not null default 0, -- the id was in the record, with the same body
    transient  bigint not null default 0, -- told, never stored
    refused    bigint not null default 0  -- dead letters: conflicts and what can't be read
) engine = InnoDB default charset = utf8mb4 collate = utf8mb4_bin;

-- How a lane's rows ended. Apart from the lane's row, so that a confirmation never waits for a dispatcher. Changed in the transactions
-- that change the rows and never lowered, so that stored = ended + open stays true after retention.
create table if not exists notify_tally (
    lane       int    not null primary key,
    confirmed  bigint not null default 0,
    deleted    bigint not null default 0,
    expired    bigint not null default 0,
    superseded bigint not null default 0,
    cancelled  bigint not null default 0,
    dead       bigint not null default 0
) engine = InnoDB default charset = utf8mb4 collate = utf8mb4_bin;

-- The counters of a receiver outlive its rows.
create table if not exists notify_receiver (
    receiver        varbinary(256) not null primary key,
    last_seq        bigint not null default 0, -- seq of the newest row
    removed_through bigint not null default 0  -- highest seq that retention has removed
) engine = InnoDB default charset = utf8mb4 collate = utf8mb4_bin;

create table if not exists notify_log (
    lane          int            not null,
    position      bigint         not null, -- the order of commits in its lane
    id            varbinary(256) not null,
    type          varchar(64)    not null,
    receiver      varbinary(256) not null,
    data          longtext       not null, -- JSON, as it was sent; as text, so that it comes back as it was sent
    viewed        boolean        not null default false,
    created       bigint         not null,
    last_modified bigint         not null,
    version       bigint         not null default 0,
    seq           bigint         not null,
    body_hash     binary(16)     not null,
    outcome       tinyint        not null default 0, -- 0: open
    removed       boolean        not null default false, -- deleted by its user; kept without data so that its id stays taken
    primary key (lane, position),
    unique key notify_log_id (id),
    unique key notify_log_seq (receiver, seq),
    key notify_log_viewed (receiver, viewed, created),
    key notify_log_open (receiver, outcome, seq)
) engine = InnoDB default charset = utf8mb4 collate = utf8mb4_bin;

-- Tokens that are no longer good. Kept until the last one that they cover has ended by itself.
create table if not exists notify_revocation (
    jti           varbinary(256) not null, -- one token, or ''
    receiver      varbinary(256) not null, -- a user's tokens, or ''
    issued_before bigint not null,         -- that were issued before this
    created       bigint not null,
    until         bigint not null,
    primary key (jti, receiver, issued_before),
    key notify_revocation_created (created)
) engine = InnoDB default charset = utf8mb4 collate = utf8mb4_bin;

-- Which tables of before were taken over. Their rows are as old as their take-over to retention, not as old as their `created`: the first
-- sweep would remove what their users still have.
create table if not exists notify_taken_over (
    name      varchar(64) not null primary key,
    row_count bigint      not null, -- their last position, too, all of lane 0
    taken_at  bigint      not null
) engine = InnoDB default charset = utf8mb4 collate = utf8mb4_bin;

-- A place to write to for who asks whether the record can be written.
create table if not exists notify_probe (
    one    tinyint not null primary key,
    probed bigint  not null
) engine = InnoDB default charset = utf8mb4 collate = utf8mb4_bin;
