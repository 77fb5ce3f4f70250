-- Which measured sensitivities a search rested on, and its explanation does: the subject they were
-- measured on and the method that rounded. Searches with equal ones share them.
CREATE TABLE run_sensitivities (
    run_id     INTEGER PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE,
    subject_id INTEGER NOT NULL REFERENCES measurement_subjects (id) ON DELETE CASCADE,
    method     TEXT    NOT NULL, -- as in sensitivities
    recipe     TEXT    NOT NULL  -- JSON
) STRICT;
