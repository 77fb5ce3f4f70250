//! A worker whose network fails while it judges.

use std::process::Stdio;

use crate::{
    folder::{Folder, SEARCH, Worked, wait_until},
    namespace::Namespace,
    nats_common::NatsServer,
};

#[test]
fn what_a_worker_answers_after_it_was_cut_off_is_late_and_changes_nothing() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(server) = NatsServer::start_at(namespace.address(), &["-js"]) else { return };
    let folder = Folder::new();
    let (alone, _) = folder.json(SEARCH);
    let queue = server.fleet("lab");
    let far = folder.start_worker(namespace.inside(&folder.haq(&[])), &queue, "far", &[]);
    let with_queue = [SEARCH, &["--queue", &queue]].concat();
    let search = folder.haq(&with_queue).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let tasks = |name: &str| folder.fleet(&queue)["tasks"][name].as_u64();

    // Cut off with a task in work: whatever becomes of it inside, its answer cannot get out.
    loop {
        wait_until("a task in work", || tasks("leased") > Some(0));
        namespace.connect(false);
        if tasks("leased") > Some(0) {
            break;
        }
        namespace.connect(true);
    }
    let n_episodes = folder.n_episodes("2");
    let near = folder.worker(&queue, "near");
    // Its time ends, and the other one gets the task.
    wait_until("the task handed out again", || tasks("redelivered") > Some(0));
    wait_until("its answer", || folder.n_episodes("2") > n_episodes);
    namespace.connect(true);

    let output = search.unwrap().wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert_eq!(folder.episodes(2), folder.episodes(1));
    // It ends once it has got rid of its answer.
    let [far, near] = [far, near].map(|worker| Worked::parse(&worker.end()));
    assert_eq!(far.n_late + near.n_late, 1, "{far:?} {near:?}");
    assert_eq!(far.n_late, 1, "{far:?}");
    assert_eq!((far.n_given_back, near.n_given_back), (0, 0));
    let n_answered = Some(far.n_answered + near.n_answered);
    assert_eq!(n_answered, alone["evaluations"].as_u64(), "each policy once: {said}");
}
