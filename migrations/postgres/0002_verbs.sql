-- The verbs that write: each is one function, so one round trip and one transaction.
--
-- Locks are taken in one order everywhere, so that nobody waits in a circle: lane, receivers by name, open rows by their place, rows by id,
-- tallies by lane. Whatever finds rows goes through an index by `= any` or a lateral subquery: a plan that was right while a table was small
-- stays right.

-- Stores a batch. The items are in the queue's order, each id once; `other` are the items that bring no row: `of` is 0 for what is not
-- persisted, -1 for what can't be read, else the number of the item whose id it repeats.
--
-- Answers whether the lane is still held at that epoch, what it had settled before, a seq for each item that is new, and what the record
-- had. An id that another lane stores at this moment is a unique violation: tried again, it is known.
create function notify_insert(
    in_lane integer, in_epoch bigint, in_through bigint,
    in_sequences bigint[], in_ids text[], in_types text[], in_receivers text[], in_data text[], in_created bigint[], in_hashes bytea[],
    in_other_sequences bigint[], in_other_of integer[], in_other_hashes bytea[],
    out held boolean, out settled_before bigint, out seqs bigint[],
    out known_ids text[], out known_seqs bigint[], out known_hashes bytea[]
) language plpgsql
-- How long the arrays are is not known when the plans are made: joins between them are by hash, or a batch would cost its square.
set enable_nestloop = off
as $$
declare
    base            bigint;
    more            bigint;
    again           bigint;
    more_duplicates bigint := 0;
    more_transient  bigint := 0;
    more_refused    bigint := 0;
begin
    select l.epoch = in_epoch, l.settled, l.position into held, settled_before, base
    from notify_lane l where l.lane = in_lane for update;
    if held is not true then
        held := false;
        return;
    end if;

    select array_agg(n.id), array_agg(n.seq), array_agg(n.body_hash) into known_ids, known_seqs, known_hashes
    from notify_log n where n.id = any (in_ids);

    with fresh as materialized (
        select i.number, i.id collate "C" as id, i.receiver collate "C" as receiver,
               row_number() over (partition by i.receiver collate "C" order by i.number) as nth,
               count(*) over (partition by i.receiver collate "C") as many
        from unnest(in_ids, in_receivers) with ordinality i (id, receiver, number)
        where not exists (select from unnest(known_ids) k (id) where k.id = i.id)
    ), counted as (
        insert into notify_receiver as r (receiver, last_seq)
        select f.receiver, count(*) from fresh f group by f.receiver order by f.receiver
        on conflict (receiver) do update set last_seq = r.last_seq + excluded.last_seq
        returning r.receiver, r.last_seq
    ), placed as materialized (
        select f.number, f.id, f.receiver, c.last_seq - f.many + f.nth as seq, base + row_number() over (order by f.number) as position
        from fresh f join counted c on c.receiver = f.receiver
    ), stored as (
        insert into notify_log (position, seq, created, last_modified, lane, id, type, receiver, body_hash, data)
        select p.position, p.seq, d.created, d.created, in_lane, p.id, d.type, p.receiver, d.hash, d.data
        from placed p
        join unnest(in_types, in_data, in_created, in_hashes) with ordinality d (type, data, created, hash, number) on d.number = p.number
        order by p.id
    ), opened as (
        insert into notify_open (receiver, seq, lane) select p.receiver, p.seq, in_lane from placed p
    )
    select array_agg(p.seq order by p.number) into seqs from placed p;

    if known_ids is not null then
        select count(*) filter (where k.hash = i.hash), count(*) filter (where k.hash <> i.hash) into more_duplicates, more_refused
        from unnest(in_ids, in_hashes, in_sequences) i (id, hash, sequence)
        join unnest(known_ids, known_hashes) k (id, hash) on k.id = i.id
        where i.sequence > settled_before;
    end if;
    if cardinality(in_other_sequences) > 0 then
        select count(*) filter (where o.of = 0), count(*) filter (where o.of > 0 and o.hash = coalesce(k.hash, in_hashes[o.of])), count(*)
        into more_transient, again, more
        from unnest(in_other_sequences, in_other_of, in_other_hashes) o (sequence, of, hash)
        left join unnest(known_ids, known_hashes) k (id, hash) on o.of > 0 and k.id = in_ids[o.of]
        where o.sequence > settled_before;
        more_duplicates := more_duplicates + again;
        more_refused := more_refused + more - again - more_transient;
    end if;
    more := coalesce(cardinality(seqs), 0);
    update notify_lane l
    set settled = greatest(l.settled, in_through), position = base + more, stored = l.stored + more,
        duplicates = l.duplicates + more_duplicates, transient = l.transient + more_transient, refused = l.refused + more_refused
    where l.lane = in_lane;
end $$;

-- Which slot of the tallies this connection counts in.
create function notify_slot() returns integer language sql stable as $$ select pg_backend_pid() % 16 $$;

-- Confirms what is open of (id, user) where `write` says so; each pair is there once. Answers for the pairs that the record has, by number,
-- and for whom and at which seq it ended a row.
create function notify_confirm(
    in_ids text[], in_users text[], in_write boolean[],
    out numbers bigint[], out seqs bigint[], out created bigint[], out ended_users text[], out ended_seqs bigint[]
) language plpgsql as $$
begin
    with asked as materialized (
        select i.number, i.write, i.receiver, n.seq, n.created
        from unnest(in_ids, in_users, in_write) with ordinality i (id, receiver, write, number)
        cross join lateral (
            select l.seq, l.created from notify_log l where l.id = i.id and l.receiver = i.receiver limit 1
        ) n
    ), closed as (
        delete from notify_open where ctid = any (array(
            select o.ctid from asked a
            cross join lateral (select p.ctid from notify_open p where p.receiver = a.receiver and p.seq = a.seq limit 1) o
            where a.write))
        returning lane, receiver, seq
    ), tallied as (
        insert into notify_tally as t (lane, slot, confirmed)
        select c.lane, notify_slot(), count(*) from closed c group by c.lane order by c.lane
        on conflict (lane, slot) do update set confirmed = t.confirmed + excluded.confirmed
    )
    select a.numbers, a.seqs, a.created, c.users, c.seqs into numbers, seqs, created, ended_users, ended_seqs
    from (select array_agg(number) as numbers, array_agg(seq) as seqs, array_agg(asked.created) as created from asked) a,
         (select array_agg(receiver) as users, array_agg(seq) as seqs from closed) c;
end $$;

-- Marks as viewed (which confirms), or deletes: the row stays without its data, its id is taken, and its outcome, if it had one, stands.
-- Answers with the ids that changed.
create function notify_change(in_user text, in_ids text[], in_delete boolean, in_now bigint) returns text[] language plpgsql as $$
declare
    ended  bigint[];
    answer text[];
begin
    with closed as (
        delete from notify_open where ctid = any (array(
            select o.ctid from notify_log n
            cross join lateral (select p.ctid from notify_open p where p.receiver = n.receiver and p.seq = n.seq limit 1) o
            where n.id = any (in_ids) and n.receiver = in_user))
        returning lane, seq
    ), tallied as (
        insert into notify_tally as t (lane, slot, confirmed, deleted)
        select c.lane, notify_slot(), count(*) filter (where not in_delete), count(*) filter (where in_delete)
        from closed c group by c.lane order by c.lane
        on conflict (lane, slot) do update set confirmed = t.confirmed + excluded.confirmed, deleted = t.deleted + excluded.deleted
    )
    select array_agg(c.seq) into ended from closed c;
    with changed as (
        update notify_log n
        set viewed = true, removed = in_delete, data = case when in_delete then 'null' else n.data end,
            outcome = case when in_delete and n.seq = any (ended) then 2 else n.outcome end,
            version = n.version + 1, last_modified = in_now
        where n.id = any (in_ids) and n.receiver = in_user and not n.removed and (in_delete or not n.viewed)
        returning n.id
    )
    select array_agg(c.id) into answer from changed c;
    return coalesce(answer, '{}');
end $$;

-- Ends and removes up to `limit` rows that were created, and taken over, before `cutoff`. One at a time does this; another one finds nothing to do.
create function notify_sweep(in_cutoff bigint, in_limit bigint, out rows_expired bigint, out rows_removed bigint) language plpgsql as $$
declare
    swept_lane  integer;
    ids         text[];
    receivers   text[];
    seqs        bigint[];
    kept        bigint;
    more        bigint;
begin
    rows_expired := 0;
    rows_removed := 0;
    if not pg_try_advisory_xact_lock('notify_log'::regclass::oid::integer, 1) then
        return;
    end if;
    delete from notify_revocation where until < in_cutoff;
    -- What was taken over since is passed over, so that the rows behind it are looked at.
    select coalesce(max(t.through), 0) into kept from notify_taken_over t where t.taken_at >= in_cutoff;
    for swept_lane in select l.lane from notify_lane l order by l.lane loop
        exit when rows_removed >= in_limit;
        -- Positions follow the order of creation but for what waited in the queue, so the oldest positions are looked at and no index is needed.
        select array_agg(o.id), array_agg(o.receiver), array_agg(o.seq) into ids, receivers, seqs
        from (
            select n.id, n.receiver, n.seq, n.created from notify_log n
            where n.lane = swept_lane and n.position > case when swept_lane = 0 then kept else 0 end
            order by n.position limit in_limit - rows_removed
        ) o
        where o.created < in_cutoff;
        continue when ids is null;

        insert into notify_receiver as r (receiver, removed_through)
        select g.receiver collate "C", max(g.seq) from unnest(receivers, seqs) g (receiver, seq) group by 1 order by 1
        on conflict (receiver) do update set removed_through = greatest(r.removed_through, excluded.removed_through);
        with closed as (
            delete from notify_open where ctid = any (array(
                select o.ctid from unnest(receivers, seqs) g (receiver, seq)
                cross join lateral (select p.ctid from notify_open p where p.receiver = g.receiver and p.seq = g.seq limit 1) o))
            returning lane
        ), tallied as (
            insert into notify_tally as t (lane, slot, expired)
            select c.lane, notify_slot(), count(*) from closed c group by c.lane order by c.lane
            on conflict (lane, slot) do update set expired = t.expired + excluded.expired
        )
        select count(*) into more from closed;
        delete from notify_log n where n.id = any (ids);
        rows_expired := rows_expired + more;
        rows_removed := rows_removed + cardinality(ids);
    end loop;
end $$;
