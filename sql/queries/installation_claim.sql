-- Which exchange's data does this database hold? The first caller decides; everybody reads the answer.
with claimed as (
    insert into hl.installation (venue) values (%(venue)s) on conflict (only_row) do nothing returning venue
)
select venue from claimed union all select venue from hl.installation limit 1
