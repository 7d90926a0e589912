-- Which jobs failed when they last ran, and how many runs failed in 24 hours? Of the newest runs only: the table keeps
-- every back-fill for ever.
with newest as materialized (
    select id, pipeline_name, status, update_timestamp
    from runs
    order by id desc
    limit 5000
),

ended as (
    select id, pipeline_name, status
    from newest
    where
        status in ('SUCCESS', 'FAILURE', 'CANCELED')
        and update_timestamp > clock_timestamp() at time zone 'UTC' - interval '24 hours'
),

last_of_each as (
    select distinct on (pipeline_name) pipeline_name, status
    from ended
    where status <> 'CANCELED'
    order by pipeline_name, id desc
)

select
    coalesce(
        (select array_agg(pipeline_name order by pipeline_name) from last_of_each where status = 'FAILURE'), '{}'
    ) as failing,
    (select count(*) from ended where status = 'FAILURE') as failed
