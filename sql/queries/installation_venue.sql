-- Which exchange's data does this database hold? A statement of its own, to see a claim committed while ours waited.
select venue from hl.installation
