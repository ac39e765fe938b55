-- Rows of the lane up to this position may not have been rung.
alter table lane add column doubted integer not null default 0;

-- Tokens that are no longer good. Kept until the last one that they cover has ended by itself.
create table revocation (
    jti           text not null default '', -- one token, or
    receiver      text not null default '', -- a user's tokens
    issued_before integer not null default 0, -- that were issued before this
    created       integer not null,
    until         integer not null,
    primary key (jti, receiver, issued_before)
) without rowid;

create index revocation_created on revocation (created);
