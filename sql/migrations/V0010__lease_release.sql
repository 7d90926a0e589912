-- What a process holds is given back when it ends, and seen to be left when it was killed.

alter table hl.lease add column held_until timestamptz not null default '-infinity';
comment on column hl.lease.held_until is
'the holder means to work until then, and says so again while it does; past: it gave the lease back, or died. Blocks nobody: a claim always takes over';

-- requests without an answer yet: few, of a table that grows
create index fetch_asked on hl.fetch (recorded_at) where status = 'asked';
