-- How far each lane was looked through for what nobody was there to get. Apart from the lane's row, which its dispatcher holds.
create table notify_unreached (
    lane    integer primary key,
    through bigint not null default 0, -- the last position that was looked at
    turn    bigint not null default 0  -- until when some node looks at what comes behind it; 0: none does
) with (fillfactor = 20);

-- As before, and says of what expired what it was. Nodes that don't ask for that find the columns that they know.
drop function notify_sweep(bigint, bigint);
create function notify_sweep(
    in_cutoff bigint, in_limit bigint, out rows_expired bigint, out rows_removed bigint,
    out expired_ids text[], out expired_receivers text[], out expired_seqs bigint[], out expired_created bigint[]
) language plpgsql as $$
declare
    swept_lane  integer;
    ids         text[];
    receivers   text[];
    seqs        bigint[];
    times       bigint[];
    kept        bigint;
    more        record;
begin
    rows_expired := 0;
    rows_removed := 0;
    expired_ids := '{}';
    expired_receivers := '{}';
    expired_seqs := '{}';
    expired_created := '{}';
    if not pg_try_advisory_xact_lock('notify_log'::regclass::oid::integer, 1) then
        return;
    end if;
    delete from notify_revocation where until < in_cutoff;
    -- What was taken over since is passed over, so that the rows behind it are looked at.
    select coalesce(max(t.through), 0) into kept from notify_taken_over t where t.taken_at >= in_cutoff;
    for swept_lane in select l.lane from notify_lane l order by l.lane loop
        exit when rows_removed >= in_limit;
        -- Positions follow the order of creation but for what waited in the queue, so the oldest positions are looked at and no index is needed.
        select array_agg(o.id), array_agg(o.receiver), array_agg(o.seq), array_agg(o.created) into ids, receivers, seqs, times
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
            returning lane, receiver, seq
        ), tallied as (
            insert into notify_tally as t (lane, slot, expired)
            select c.lane, notify_slot(), count(*) from closed c group by c.lane order by c.lane
            on conflict (lane, slot) do update set expired = t.expired + excluded.expired
        )
        select count(*) as number, array_agg(g.id) as ids, array_agg(g.receiver) as receivers, array_agg(g.seq) as seqs, array_agg(g.created) as times
        into more
        from closed c join unnest(ids, receivers, seqs, times) g (id, receiver, seq, created) on g.receiver = c.receiver and g.seq = c.seq;
        delete from notify_log n where n.id = any (ids);
        rows_expired := rows_expired + more.number;
        rows_removed := rows_removed + cardinality(ids);
        if more.number > 0 then
            expired_ids := expired_ids || more.ids;
            expired_receivers := expired_receivers || more.receivers;
            expired_seqs := expired_seqs || more.seqs;
            expired_created := expired_created || more.times;
        end if;
    end loop;
end $$;
