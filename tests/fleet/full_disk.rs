//! A worker without room for what it needs.

use crate::{
    disk_common::SmallDisk,
    folder::{Folder, SEARCH, Worked, wait_until},
};

#[test]
fn a_worker_with_a_full_disk_leaves_the_work_to_one_with_room() {
    let folder = Folder::new();
    let cache = folder.path().join(Folder::cache("small"));
    let Some(_disk) = SmallDisk::mount(&cache, "16k") else { return };
    let (alone, _) = folder.json(SEARCH);
    let small = folder.worker("haq.db", "small");
    let is_there = || folder.fleet("haq.db")["workers"].as_array().is_some_and(|w| !w.is_empty());
    wait_until("a worker", is_there);
    let with_queue = [SEARCH, &["--queue", "haq.db", "--quiet"]].concat();
    let mut search = folder.start(&with_queue);
    // It gets one long before another worker has started.
    let n_waiting = || folder.fleet("haq.db")["tasks"]["waiting"].as_u64();
    wait_until("tasks", || n_waiting() > Some(0));
    let roomy = folder.worker("haq.db", "roomy");
    assert!(search.wait().unwrap().success());
    assert_eq!(folder.episodes(2), folder.episodes(1));
    let said = small.end();
    assert!(said.contains("given back") && said.contains("the disk is full"), "{said}");
    let [small, roomy] = [said, roomy.end()].map(|said| Worked::parse(&said));
    assert!(small.n_given_back > 0 && small.n_answered == 0, "{small:?}");
    assert_eq!(Some(roomy.n_answered), alone["evaluations"].as_u64());
    assert_eq!((roomy.n_given_back, roomy.n_late), (0, 0));
}
