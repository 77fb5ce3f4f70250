-- Marks the file as one of haq's ("haq1" in ASCII), so that no other database is taken for one.
PRAGMA application_id = 0x68617131;

-- A run is one search: what was asked, where it stands, how it ended.
--
-- Figures named quality follow the run's measure with the sign that makes more better:
-- a share from 0 to 1 for top1, top5 and agreement, minus the distance for kl and mse.
CREATE TABLE runs (
    id                        INTEGER PRIMARY KEY AUTOINCREMENT,
    created_at                TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), -- UTC
    state                     TEXT    NOT NULL DEFAULT 'running', -- running, completed, interrupted, failed
    error                     TEXT,                               -- why it failed

    -- What was asked; never changes.
    model                     TEXT    NOT NULL, -- file name or 'embedded'
    model_digest              TEXT    NOT NULL, -- SHA-256, hexadecimal
    data                      TEXT    NOT NULL, -- path or 'embedded'
    profile                   TEXT    NOT NULL, -- name inside the hardware profile
    strategy                  TEXT    NOT NULL, -- ddpg, random, uniform, …
    measure                   TEXT    NOT NULL, -- top1, top5, agreement, kl, mse
    objective                 TEXT    NOT NULL, -- latency, energy, size, memory: what the front is drawn against
    seed                      INTEGER NOT NULL, -- 64 bits; a seed above 2^63 - 1 shows as negative
    episodes_planned          INTEGER NOT NULL,
    batch                     INTEGER NOT NULL, -- images
    budget_requests           TEXT    NOT NULL, -- JSON array of what was typed: ["latency=0.6"]
    budgets                   TEXT    NOT NULL, -- JSON: [{"kind":"latency","limit":0.0012}], seconds, joules, bytes
    eight_bit_latency_s       REAL    NOT NULL, -- what the 8/8 policy costs, for one batch
    eight_bit_energy_j        REAL    NOT NULL,
    eight_bit_size_bytes      INTEGER NOT NULL,
    eight_bit_peak_memory_bytes INTEGER NOT NULL,
    config                    TEXT    NOT NULL, -- JSON: all else that the same run needs to start again
    evaluation_key            TEXT    NOT NULL, -- runs with equal keys get equal quality for equal policies

    -- Where it stands; changes with every episode.
    episodes                  INTEGER NOT NULL DEFAULT 0,
    evaluations               INTEGER NOT NULL DEFAULT 0, -- forward passes; the other episodes came from the cache
    wall_s                    REAL    NOT NULL DEFAULT 0, -- seconds of work, summed over interruptions
    best_episode              INTEGER,                    -- index of the best episode that meets the budgets
    tested                    TEXT    NOT NULL DEFAULT '[]', -- JSON: other policies and their quality on the test split

    -- Which process works on it. A claim counts up each time one takes the run, so that
    -- a process which lost it can no longer write.
    claim                     INTEGER NOT NULL DEFAULT 1,
    owner_host                TEXT    NOT NULL,
    owner_process_space       TEXT    NOT NULL, -- boot and namespace within which the process id means something
    owner_process_id          INTEGER NOT NULL,
    owner_process_start_ticks INTEGER NOT NULL, -- tells a process from a later one with the same id
    heartbeat_unix_ms         INTEGER NOT NULL
) STRICT;

CREATE INDEX runs_by_evaluation ON runs (evaluation_key);
CREATE INDEX runs_alive ON runs (id) WHERE state = 'running';

-- The network's quantizable layers as the run saw them, in the order of every policy.
CREATE TABLE layers (
    run_id      INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    layer_index INTEGER NOT NULL,
    name        TEXT    NOT NULL,
    kind        TEXT    NOT NULL, -- conv, depthwise, linear
    macs        INTEGER NOT NULL, -- for one image
    weights     INTEGER NOT NULL,
    pinned      INTEGER NOT NULL CHECK (pinned IN (0, 1)), -- 1: the search may not change its bits
    PRIMARY KEY (run_id, layer_index)
) STRICT, WITHOUT ROWID;

-- Quality measured beside the episodes: the float network on the search split, and what
-- the float network and the best policy reach on the test split once the run completed.
-- A figure that was not measured, or was not a number, is NULL.
CREATE TABLE run_qualities (
    run_id     INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    subject    TEXT    NOT NULL CHECK (subject IN ('float-search', 'float-test', 'best-test')),
    quality    REAL,   -- by the run's measure, more is better
    top1       REAL,   -- share, 0 to 1
    top5       REAL,
    loss_nats  REAL,
    agreement  REAL,   -- share, 0 to 1
    kl_nats    REAL,
    mse        REAL,
    PRIMARY KEY (run_id, subject)
) STRICT, WITHOUT ROWID;
