-- The record: what was accepted and how it ended. Names begin with notify_, since the database may be shared.
--
-- Ids and receivers compare byte by byte: collation "C". Data stays text: json or jsonb would lose \u0000, or refuse it.

-- A table of today's users keeps its rows under another name, and they are copied at the end of this file. All of it is one transaction.
-- Once all is well, notify_log_before may be dropped: nothing reads it any more.
do $$
declare
    index record;
begin
    if to_regclass('notify_log') is null then
        return;
    end if;
    lock table notify_log in access exclusive mode;
    for index in
        select c.oid::regclass as name, row_number() over () as number
        from pg_index i join pg_class c on c.oid = i.indexrelid
        where i.indrelid = to_regclass('notify_log')
    loop
        execute format('alter index %s rename to %I', index.name, 'notify_log_before_' || index.number);
    end loop;
    alter table notify_log rename to notify_log_before;
end $$;

-- One row a partition. Its dispatcher's epoch fences off zombies; the tallies change in the transactions that change the rows and are
-- never lowered, so that stored = ended + open holds without counting.
create table notify_lane (
    lane       integer primary key,
    epoch      bigint not null default 0,
    settled    bigint not null default 0, -- last queue sequence that was dealt with
    position   bigint not null default 0, -- last position given to a row
    doubted    bigint not null default 0, -- rows up to this position may not have been rung
    stored     bigint not null default 0,
    duplicates bigint not null default 0, -- the id was in the record, with the same body
    transient  bigint not null default 0, -- told, never stored
    refused    bigint not null default 0  -- dead letters: conflicts and what can't be read
) with (fillfactor = 20);

-- How a lane's rows ended. Apart from the lane, so that confirmations don't wait for the dispatcher; in several slots, so that they don't
-- wait for each other's sync either. The sum is what counts.
create table notify_tally (
    lane       integer not null,
    slot       integer not null,
    confirmed  bigint not null default 0,
    deleted    bigint not null default 0,
    expired    bigint not null default 0,
    superseded bigint not null default 0,
    cancelled  bigint not null default 0,
    dead       bigint not null default 0,
    primary key (lane, slot)
) with (fillfactor = 20);

-- The counters of a receiver outlive its rows.
create table notify_receiver (
    receiver        text collate "C" primary key,
    last_seq        bigint not null default 0, -- seq of the newest row
    removed_through bigint not null default 0  -- highest seq that retention has removed
) with (fillfactor = 70);

create table notify_log (
    position      bigint not null, -- within the lane, in the order of commits
    seq           bigint not null,
    created       bigint not null,
    last_modified bigint not null, -- by its user: viewed, or deleted
    version       bigint not null default 0,
    lane          integer not null,
    outcome       smallint not null default 1, -- how it ended, once it is not in notify_open any more
    viewed        boolean not null default false,
    removed       boolean not null default false, -- deleted by its user; kept without data so that its id stays taken
    id            text collate "C" not null,
    type          text collate "C" not null,
    receiver      text collate "C" not null,
    body_hash     bytea not null, -- empty in rows of before the upgrade: equal to no hash
    data          text not null
);

-- The rows without an outcome. A confirmation deletes here, and nothing else: the row itself, which may be long and is in four indexes, stays
-- as it is. And what waits is found without walking over what doesn't.
create table notify_open (
    receiver text collate "C" not null,
    seq      bigint not null,
    lane     integer not null,
    primary key (receiver, seq)
);

-- Tokens that are no longer good. Kept until the last one that they cover has ended by itself.
create table notify_revocation (
    jti           bytea not null default '', -- one token, or
    receiver      bytea not null default '', -- a user's tokens
    issued_before bigint not null default 0, -- that were issued before this
    created       bigint not null,
    until         bigint not null,
    primary key (jti, receiver, issued_before)
);

create index notify_revocation_created on notify_revocation (created);

-- A row for a table that was taken over. Its rows are as old as their take-over to retention, not as old as their `created`: the first sweep
-- would remove what their users still have.
create table notify_taken_over (
    through  bigint not null, -- their last position, all of lane 0
    taken_at bigint not null
);

-- What stood before counts as confirmed: nothing of it is told again. A receiver's seq goes by `created`, then by id; so does the position.
do $$
declare
    rows_before bigint;
    rows_after  bigint;
begin
    if to_regclass('notify_log_before') is null then
        return;
    end if;

    -- Text that is no JSON is told as a string.
    create function pg_temp.as_json(value text) returns text language plpgsql immutable as $as_json$
    begin
        perform value::json;
        return value;
    exception when others then
        return to_json(value)::text;
    end $as_json$;

    insert into notify_log (position, seq, created, last_modified, version, lane, outcome, viewed, id, type, receiver, body_hash, data)
    select row_number() over (order by created, id), row_number() over (partition by receiver order by created, id),
           created, last_modified, version, 0, 1, viewed, id, type, receiver, '', data
    from (
        select id::text collate "C" as id, type::text as type, receiver::text collate "C" as receiver,
               coalesce(pg_temp.as_json(data::text), 'null') as data,
               coalesce(viewed::text in ('true', '1'), false) as viewed,
               coalesce(created, last_modified, 0)::bigint as created,
               coalesce(last_modified, created, 0)::bigint as last_modified,
               coalesce(version, 0)::bigint as version
        from notify_log_before
    ) before
    order by created, id;

    select count(*) into rows_before from notify_log_before;
    select count(*) into rows_after from notify_log;
    if rows_before <> rows_after then
        raise exception 'the upgrade would take % of % rows along', rows_after, rows_before;
    end if;
    insert into notify_receiver (receiver, last_seq) select receiver, max(seq) from notify_log group by receiver;
    insert into notify_lane (lane, position, stored) values (0, rows_after, rows_after);
    insert into notify_tally (lane, slot, confirmed) values (0, 0, rows_after);
    insert into notify_taken_over (through, taken_at) values (rows_after, extract(epoch from clock_timestamp()) * 1000);
end $$;

alter table notify_log add primary key (id);
alter table notify_log add constraint notify_log_position unique (lane, position);
alter table notify_log add constraint notify_log_seq unique (receiver, seq);
create index notify_log_unread on notify_log (receiver) where not viewed;
