//! What happens, as it happens, and after a break.

use crate::common::{Server, small_search};

#[test]
fn a_stream_tells_everything_once_also_after_a_break() {
    let server = Server::start(&[]);
    let id = server.submit(&small_search(2));
    let is_end = |event: &(String, i64, serde_json::Value)| event.2["state"] == "completed";
    let path = format!("/api/v1/searches/{id}/events");
    let live = server.events(&path, Some(0), is_end);
    let whole = server.events(&path, Some(0), is_end);
    assert_eq!(live, whole);

    let numbers: Vec<i64> = whole.iter().map(|(_, number, _)| *number).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b));
    let told: Vec<i64> = whole
        .iter()
        .filter(|(name, ..)| name == "episode")
        .map(|(.., data)| data["episode"].as_i64().unwrap())
        .collect();
    let n_episodes = server.search(id)["episodes"].as_i64().unwrap();
    assert_eq!(told, (0..n_episodes).collect::<Vec<_>>());
    assert!(whole.iter().any(|(name, ..)| name == "log"));
    assert!(whole.iter().any(|(.., data)| data["on_front"] == true));

    let middle = whole.len() / 2;
    let rest = server.events(&path, Some(whole[middle].1), is_end);
    assert_eq!(rest, whole[middle + 1..]);
    let all = server.events("/api/v1/events", Some(whole[middle].1), is_end);
    assert_eq!(all, whole[middle + 1..]);
    server.get("/api/v1/searches/99/events").expect(404);
}

#[test]
fn who_comes_back_too_late_is_told_to_load_again() {
    let server = Server::start(&[]);
    let id = server.submit(&small_search(0));
    server.wait_for(id, "completed");
    let newest = server.events("/api/v1/events", Some(0), |event| event.2["state"] == "completed");
    let newest = newest.last().unwrap().1;
    // As the service does with what is old.
    let python = "import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); \
                  c.execute('DELETE FROM events WHERE id < ?', (int(sys.argv[2]),)); c.commit()";
    let database = server.path().join("haq.db");
    let trimmed = std::process::Command::new("python3")
        .args(["-c", python])
        .arg(database)
        .arg(newest.to_string())
        .status();
    assert!(trimmed.expect("python3 is there").success());
    let events = server.events("/api/v1/events", Some(1), |_| true);
    assert_eq!((events[0].0.as_str(), events[0].1), ("reset", newest));
}
