//! A task that the process can't do without does not go unnoticed.

use quick_notify::app::App;
use quick_notify::config;
use quick_notify::lifecycle::Lifecycle;

use crate::harness::{tempdir, within};

#[tokio::test]
async fn a_panic_in_a_vital_task_is_told_to_the_process() {
    let lifecycle = Lifecycle::new();
    let stage = lifecycle.stage();
    stage.spawn_vital("poisoned", async { panic!("on purpose") });
    within("the failure", lifecycle.failed.cancelled()).await;
    assert!(within("its end", stage.drained(std::time::Duration::from_secs(5))).await);
}

#[tokio::test]
async fn a_vital_task_that_ends_before_the_drain_is_a_failure_and_one_that_ends_with_it_is_none() {
    let lifecycle = Lifecycle::new();
    let good = lifecycle.stage();
    let drain = good.drain.clone();
    good.spawn_vital("good", async move { drain.cancelled().await });
    assert!(within("its end", good.drained(std::time::Duration::from_secs(5))).await);
    assert!(!lifecycle.failed.is_cancelled());
    lifecycle.stage().spawn_vital("early", async {});
    within("the failure", lifecycle.failed.cancelled()).await;
}

#[tokio::test]
async fn a_node_whose_vital_task_is_gone_is_not_ready() {
    let data = tempdir();
    let set = |path: &str, value: String| (path.to_owned(), value);
    let settings = [
        set("app.listen", "127.0.0.1:0".into()),
        set("app.data", data.path().display().to_string()),
        set("telemetry.listen", "".into()),
    ];
    let config = config::load(&[], &settings).expect("a right configuration");
    let lifecycle = Lifecycle::new();
    let app = App::start(config, &lifecycle).await.expect("it starts");
    let ready = async || {
        let answer = reqwest::get(format!("http://{}/health/ready", app.address)).await;
        let answer = answer.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("a body"))
    };
    assert_eq!(ready().await.0, 200);
    lifecycle
        .stage()
        .spawn_vital("poisoned", async { panic!("on purpose") });
    within("the failure", lifecycle.failed.cancelled()).await;
    let (status, body) = ready().await;
    assert_eq!(status, 503);
    assert!(body.contains("a task that everything depends on is gone"), "{body}");
    assert!(within("the drain", app.drain()).await);
}
