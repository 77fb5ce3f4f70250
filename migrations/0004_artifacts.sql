-- Files a run wrote: plots, policies, pages.
CREATE TABLE artifacts (
    run_id     INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    kind       TEXT    NOT NULL, -- such as policy, pareto-svg, report
    path       TEXT    NOT NULL,
    created_at TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), -- UTC
    PRIMARY KEY (run_id, kind, path)
) STRICT, WITHOUT ROWID;
