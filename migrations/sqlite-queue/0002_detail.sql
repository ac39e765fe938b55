alter table dead_letter add column detail text not null default ''; -- what exactly was wrong, for people
