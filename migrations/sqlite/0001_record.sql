-- The record: what was accepted and how it ended.

-- One row a partition. Its dispatcher's epoch fences off zombies; the tallies change in the transactions that change the rows and are
-- never lowered, so that stored = ended + open stays checkable after retention.
create table lane (
    lane       integer primary key,
    epoch      integer not null default 0,
    settled    integer not null default 0, -- last queue sequence that was dealt with
    position   integer not null default 0, -- last position given to a row
    stored     integer not null default 0,
    duplicates integer not null default 0, -- the id was in the record, with the same body
    transient  integer not null default 0, -- told, never stored
    refused    integer not null default 0, -- dead letters: conflicts and what can't be read
    confirmed  integer not null default 0,
    deleted    integer not null default 0,
    expired    integer not null default 0,
    superseded integer not null default 0,
    cancelled  integer not null default 0,
    dead       integer not null default 0
);

-- The counters of a receiver outlive its rows.
create table receiver (
    receiver        text primary key,
    last_seq        integer not null default 0, -- seq of the newest row
    removed_through integer not null default 0  -- highest seq that retention has removed
) without rowid;

create table notify_log (
    position      integer primary key, -- the order of commits; alone there is one lane
    id            text not null unique,
    lane          integer not null default 0,
    type          text not null,
    receiver      text not null,
    data          text not null,
    viewed        boolean not null default false,
    created       integer not null,
    last_modified integer not null,
    version       integer not null default 0,
    seq           integer not null,
    body_hash     blob not null,
    outcome       integer not null default 0, -- 0: open
    removed       boolean not null default false -- deleted by its user; kept without data so that its id stays taken
);

create unique index notify_log_seq on notify_log (receiver, seq);
create index notify_log_viewed on notify_log (receiver, viewed, created);
create index notify_log_open on notify_log (receiver, seq) where outcome = 0;
