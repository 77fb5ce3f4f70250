-- What many ask for at once is read without a look at every episode.

-- What the best episode of each run reached, beside the runs: lists show it and sort by it.
-- Written by the triggers below whenever runs.best_episode changes.
CREATE TABLE run_bests (
    run_id            INTEGER PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE,
    quality           REAL,             -- as in episodes
    latency_s         REAL,             -- for one batch
    energy_j          REAL,             -- for one batch
    size_bytes        INTEGER NOT NULL,
    peak_memory_bytes INTEGER NOT NULL
) STRICT;

INSERT INTO run_bests
SELECT run_id, quality, latency_s, energy_j, size_bytes, peak_memory_bytes
FROM runs JOIN episodes ON run_id = id AND episode_index = best_episode;

CREATE TRIGGER best_of_run AFTER UPDATE OF best_episode ON runs
WHEN OLD.best_episode IS NOT NEW.best_episode BEGIN
    DELETE FROM run_bests WHERE run_id = NEW.id;
    INSERT INTO run_bests
    SELECT run_id, quality, latency_s, energy_j, size_bytes, peak_memory_bytes
    FROM episodes WHERE run_id = NEW.id AND episode_index = NEW.best_episode;
END;

-- What lists are narrowed by, without the long columns beside it.
CREATE INDEX runs_listed ON runs (id, profile, strategy, model, data, state, created_at);
CREATE INDEX jobs_listed ON jobs (id, profile, strategy, model, data, state, created_at, submitter);

-- The order in which a front is looked for, with all that decides who is on it.
CREATE INDEX episodes_for_front ON episodes (run_id, objective_cost, quality DESC, episode_index)
WHERE meets_budgets = 1 AND stopped_after_images IS NULL
    AND quality IS NOT NULL AND objective_cost IS NOT NULL;

-- How many of a run's episodes are no proposals.
CREATE INDEX episodes_references ON episodes (run_id, episode_index) WHERE kind = 'reference';

-- Both as before; the best from its own table.
DROP VIEW searches;
DROP VIEW run_summary;

CREATE VIEW run_summary AS
SELECT
    runs.id                          AS run,
    runs.created_at,
    runs.state,
    runs.model,
    runs.data,
    runs.profile,
    runs.strategy,
    runs.measure,
    runs.objective,
    runs.budget_requests             AS budget,
    runs.seed,
    runs.batch,
    runs.episodes,
    runs.episodes_planned,
    runs.evaluations,
    runs.wall_s,
    runs.best_episode,
    best.quality,
    best_test.quality                AS test_quality,
    float_search.quality             AS float_quality,
    float_test.quality               AS float_test_quality,
    best.latency_s,
    best.energy_j,
    best.size_bytes,
    best.peak_memory_bytes,
    runs.eight_bit_latency_s,
    runs.eight_bit_energy_j,
    runs.eight_bit_size_bytes,
    runs.eight_bit_peak_memory_bytes,
    runs.error
FROM runs
LEFT JOIN run_bests AS best ON best.run_id = runs.id
LEFT JOIN run_qualities AS best_test
    ON best_test.run_id = runs.id AND best_test.subject = 'best-test'
LEFT JOIN run_qualities AS float_search
    ON float_search.run_id = runs.id AND float_search.subject = 'float-search'
LEFT JOIN run_qualities AS float_test
    ON float_test.run_id = runs.id AND float_test.subject = 'float-test';

CREATE VIEW searches AS
SELECT
    run_summary.run                     AS search,
    coalesce(jobs.created_at, run_summary.created_at) AS created_at,
    coalesce(jobs.state, CASE run_summary.state WHEN 'interrupted' THEN 'paused' ELSE run_summary.state END) AS state,
    coalesce(jobs.submitter, 'local')   AS submitter,
    jobs.id IS NOT NULL                 AS is_job,
    jobs.wanted,
    run_summary.model, run_summary.data, run_summary.profile, run_summary.strategy, run_summary.measure,
    run_summary.objective, run_summary.budget, run_summary.seed,
    run_summary.episodes,
    run_summary.episodes_planned, run_summary.evaluations, run_summary.wall_s,
    run_summary.best_episode, run_summary.quality, run_summary.test_quality,
    run_summary.float_quality, run_summary.float_test_quality,
    run_summary.latency_s, run_summary.energy_j, run_summary.size_bytes, run_summary.peak_memory_bytes,
    run_summary.eight_bit_latency_s, run_summary.eight_bit_energy_j,
    run_summary.eight_bit_size_bytes, run_summary.eight_bit_peak_memory_bytes,
    coalesce(jobs.error, run_summary.error) AS error
FROM run_summary
LEFT JOIN jobs ON jobs.id = run_summary.run
UNION ALL
SELECT
    id, created_at, state, submitter, 1, wanted,
    model, data, profile, strategy, measure,
    NULL, budget_requests, seed,
    0, episodes_planned, 0, 0.0,
    NULL, NULL, NULL,
    NULL, NULL,
    NULL, NULL, NULL, NULL,
    NULL, NULL,
    NULL, NULL,
    error
FROM jobs
WHERE NOT EXISTS (SELECT 1 FROM runs WHERE runs.id = jobs.id);

-- One row a search with what searches are found and ordered by alone: read from the indexes above.
CREATE VIEW search_keys AS
SELECT
    runs.id                             AS search,
    coalesce(jobs.created_at, runs.created_at) AS created_at,
    coalesce(jobs.state, CASE runs.state WHEN 'interrupted' THEN 'paused' ELSE runs.state END) AS state,
    coalesce(jobs.submitter, 'local')   AS submitter,
    jobs.id IS NOT NULL                 AS is_job,
    runs.model, runs.data, runs.profile, runs.strategy,
    best.quality, best.latency_s, best.energy_j, best.size_bytes, best.peak_memory_bytes
FROM runs
LEFT JOIN jobs INDEXED BY jobs_listed ON jobs.id = runs.id
LEFT JOIN run_bests AS best ON best.run_id = runs.id
UNION ALL
SELECT
    id, created_at, state, submitter, 1,
    model, data, profile, strategy,
    NULL, NULL, NULL, NULL, NULL
FROM jobs
WHERE NOT EXISTS (SELECT 1 FROM runs INDEXED BY runs_listed WHERE runs.id = jobs.id);
