-- Marks the database as holding one exchange's data; does nothing where it is marked already.
insert into hl.installation (venue) values (%(venue)s) on conflict (only_row) do nothing
