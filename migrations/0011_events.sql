-- What happened, in order, for those who watch: written with what it tells of, in one transaction.
-- Old ones are dropped; who asks for an event that is gone is told to load everything again.
CREATE TABLE events (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    search_id     INTEGER NOT NULL,
    kind          TEXT    NOT NULL CHECK (kind IN ('episode', 'state', 'log', 'deleted')),
    episode_index INTEGER, -- of an episode
    detail        TEXT     -- of a state its name, of a log line its JSON
) STRICT;

CREATE INDEX events_by_search ON events (search_id, id);

CREATE TRIGGER event_of_episode AFTER INSERT ON episodes BEGIN
    INSERT INTO events (search_id, kind, episode_index) VALUES (NEW.run_id, 'episode', NEW.episode_index);
END;

CREATE TRIGGER event_of_job AFTER INSERT ON jobs BEGIN
    INSERT INTO events (search_id, kind, detail) VALUES (NEW.id, 'state', NEW.state);
END;

CREATE TRIGGER event_of_job_state AFTER UPDATE OF state ON jobs WHEN OLD.state IS NOT NEW.state BEGIN
    INSERT INTO events (search_id, kind, detail) VALUES (NEW.id, 'state', NEW.state);
END;

-- A run without a job speaks for itself.
CREATE TRIGGER event_of_run AFTER INSERT ON runs WHEN NOT EXISTS (SELECT 1 FROM jobs WHERE id = NEW.id) BEGIN
    INSERT INTO events (search_id, kind, detail) VALUES (NEW.id, 'state', NEW.state);
END;

CREATE TRIGGER event_of_run_state AFTER UPDATE OF state ON runs
WHEN OLD.state IS NOT NEW.state AND NOT EXISTS (SELECT 1 FROM jobs WHERE id = NEW.id) BEGIN
    INSERT INTO events (search_id, kind, detail)
    VALUES (NEW.id, 'state', CASE NEW.state WHEN 'interrupted' THEN 'paused' ELSE NEW.state END);
END;

-- What was said of a search goes with it.
CREATE TRIGGER words_of_run AFTER DELETE ON runs BEGIN
    DELETE FROM jobs WHERE id = OLD.id;
    DELETE FROM search_tags WHERE search_id = OLD.id;
    DELETE FROM search_notes WHERE search_id = OLD.id;
    DELETE FROM events WHERE search_id = OLD.id;
    INSERT INTO events (search_id, kind) VALUES (OLD.id, 'deleted');
END;
