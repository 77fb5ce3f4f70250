-- A job is a search that was handed to the service: it waits, runs in a process of its own, and
-- ends. Its number is the number of the run it becomes; both are drawn from one sequence, so that
-- a search has one number wherever it is asked for. A run that `haq search` made has no job.
CREATE TABLE jobs (
    id                INTEGER PRIMARY KEY,
    created_at        TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), -- UTC
    submitter         TEXT    NOT NULL, -- name of the token, 'local' where none was needed
    request           TEXT    NOT NULL, -- JSON: all that the search needs to start
    request_digest    TEXT    NOT NULL, -- SHA-256, hexadecimal: tells a repeated submission from another one
    submission_key    TEXT,             -- chosen by the client, so that a submission sent twice is one job

    -- What lists show before there is a run.
    model             TEXT    NOT NULL,
    data              TEXT    NOT NULL,
    profile           TEXT    NOT NULL,
    strategy          TEXT    NOT NULL,
    measure           TEXT    NOT NULL,
    seed              INTEGER NOT NULL,
    episodes_planned  INTEGER NOT NULL,
    budget_requests   TEXT    NOT NULL, -- JSON array of what was typed

    state             TEXT    NOT NULL DEFAULT 'queued', -- queued, running, paused, completed, failed, cancelled
    wanted            TEXT CHECK (wanted IN ('paused', 'cancelled')), -- what a running one is asked to become
    error             TEXT,
    crashes           INTEGER NOT NULL DEFAULT 0, -- times its process was killed since it last committed an episode
    crash_episodes    INTEGER NOT NULL DEFAULT 0, -- episodes there were at the last of them
    not_before_unix_ms INTEGER NOT NULL DEFAULT 0, -- a queued one waits until then
    leased_unix_ms    INTEGER NOT NULL DEFAULT 0, -- when it was last taken: who was served last waits longest

    -- Which service process has it, as in runs. The claim is its fencing number.
    claim             INTEGER NOT NULL DEFAULT 0,
    owner_host        TEXT    NOT NULL DEFAULT '',
    owner_process_space TEXT  NOT NULL DEFAULT '',
    owner_process_id  INTEGER NOT NULL DEFAULT 0,
    owner_process_start_ticks INTEGER NOT NULL DEFAULT 0,
    heartbeat_unix_ms INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE UNIQUE INDEX jobs_by_submission ON jobs (submitter, submission_key) WHERE submission_key IS NOT NULL;
CREATE INDEX jobs_open ON jobs (id) WHERE state IN ('queued', 'running');

-- Words a user put on a search, whether it is a job, a run or both.
CREATE TABLE search_tags (
    search_id INTEGER NOT NULL,
    tag       TEXT    NOT NULL,
    PRIMARY KEY (search_id, tag)
) STRICT, WITHOUT ROWID;

CREATE TABLE search_notes (
    search_id INTEGER PRIMARY KEY,
    note      TEXT    NOT NULL
) STRICT;

-- One row a search: its job where it has one, its run where there is one.
-- A run that was interrupted shows as paused: both wait for somebody to go on.
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
