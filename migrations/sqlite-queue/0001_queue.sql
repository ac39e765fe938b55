-- The embedded ingest queue. AUTOINCREMENT: a sequence is never given twice, also when the table has been emptied.
create table entry (
    sequence integer primary key autoincrement,
    id       text not null,
    hash     blob not null,
    payload  blob not null
);

create table dead_letter (
    sequence integer primary key,
    id       text not null,
    reason   text not null,
    payload  blob not null,
    died     integer not null
);
