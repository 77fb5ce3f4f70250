//! A search of very many episodes.

use std::process::Command;

use crate::{
    browser::{browse, first},
    common::{Server, small_search},
};

/// Copies the episodes of search 1 until there are so many, each a little worse than its model.
const MULTIPLY: &str = "
import sqlite3, sys
database, total = sqlite3.connect(sys.argv[1], timeout=60), int(sys.argv[2])
columns = [row[1] for row in database.execute('PRAGMA table_info(episodes)')]
rows = [dict(zip(columns, row)) for row in
        database.execute('SELECT * FROM episodes WHERE run_id = 1 ORDER BY episode_index')]
models = [row for row in rows if row['kind'] != 'reference']
def copy(index):
    row = dict(models[index % len(models)], episode_index=index)
    for step, key in enumerate(['objective_cost', 'latency_s', 'energy_j']):
        row[key] *= 1 + (index * 7919 % 1000) / 2000
    row['quality'] -= (index * 104729 % 1000) / 3000
    return [row[column] for column in columns]
marks = ','.join('?' * len(columns))
with database:
    database.executemany(f'INSERT INTO episodes VALUES ({marks})',
                         (copy(index) for index in range(len(rows), total)))
    database.execute('UPDATE runs SET episodes = ?, episodes_planned = ? WHERE id = 1',
                     (total, total - len(rows) + len(models)))
";

const AXIS: &str = "echarts.getInstanceByDom(document.getElementById('pareto')).getOption()
    .xAxis[0].name";

#[test]
fn a_search_of_fifty_thousand_episodes_is_drawn_and_picked_from() {
    let server = Server::start(&[]);
    let id = server.submit(&small_search(1));
    server.wait_for(id, "completed");
    let front = server.get("/api/v1/searches/1/front").expect(200)["front"].clone();
    let grown = Command::new("python3")
        .args(["-c", MULTIPLY])
        .arg(server.path().join("haq.db"))
        .arg("50000")
        .output()
        .expect("python3 is there");
    assert!(grown.status.success(), "{}", String::from_utf8_lossy(&grown.stderr));
    assert_eq!(server.get("/api/v1/searches/1/front").expect(200)["front"], front);
    browse("large", async |browser| {
        browser.goto(&format!("{}/searches/1", server.url)).await;
        let caption = format!("{}.textContent", first("#pareto-caption"));
        browser.until(&format!("{caption}.includes(' of 50,000 episodes are drawn')")).await;
        browser.until(&format!("{}.textContent.includes(', the best:')", first("#picked"))).await;
        browser.picture("search-large").await;
        browser.click("#front-details summary").await;
        browser.until("document.querySelectorAll('#front tbody tr').length > 0").await;
        let n_front = front.as_array().unwrap().len() as u64;
        assert_eq!(browser.count("#front tbody tr").await, n_front);
        let button = format!("#front button[data-episode='{}']", front[0]["index"]);
        browser.click(&button).await;
        let picked = format!("Episode {}", front[0]["index"]);
        browser.until(&format!("{}.textContent.startsWith({picked:?})", first("#picked"))).await;
        browser.choose("#range", "all").await;
        browser.choose("#cost", "size").await;
        browser.until(&format!("{AXIS}.startsWith('weight size')")).await;
        browser.picture("search-large-all").await;
    });
}
