use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use futures::FutureExt;

use super::*;

/// A job that says when it has begun, and ends when it is told to.
struct Gate {
    begun: mpsc::Receiver<()>,
    end: mpsc::Sender<()>,
}

impl Gate {
    fn new() -> (Self, impl FnOnce(&mut Memory) + Send + 'static) {
        let (tell_begun, begun) = mpsc::channel();
        let (end, told_to_end) = mpsc::channel::<()>();
        let work = move |_: &mut Memory| {
            let _ = tell_begun.send(());
            let _ = told_to_end.recv();
        };
        (Self { begun, end }, work)
    }
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_says_when_to_come_back() {
    let pool = Pool::start(1, 2).unwrap();
    let (gate, work) = Gate::new();
    let mut first = Box::pin(pool.run("test", work));
    assert!(first.as_mut().now_or_never().is_none());
    gate.begun.recv().unwrap();

    let mut second = Box::pin(pool.run("test", |_| 2));
    let mut third = Box::pin(pool.run("test", |_| 3));
    assert!(second.as_mut().now_or_never().is_none());
    assert!(third.as_mut().now_or_never().is_none());
    let refused = pool.run("test", |_| 4).now_or_never().expect("it does not wait");
    assert_eq!(refused, Err(NoResult::Busy { retry_after: Duration::from_secs(1) }));

    gate.end.send(()).unwrap();
    assert_eq!(first.await, Ok(()));
    assert_eq!((second.await, third.await), (Ok(2), Ok(3)));
    assert_eq!(pool.run("test", |_| 5).await, Ok(5), "there is room again");
}

#[tokio::test]
async fn who_goes_away_leaves_the_place_and_is_not_worked_for() {
    let pool = Pool::start(1, 2).unwrap();
    let (gate, work) = Gate::new();
    let mut first = Box::pin(pool.run("test", work));
    assert!(first.as_mut().now_or_never().is_none());
    gate.begun.recv().unwrap();

    let done = Arc::new(AtomicUsize::new(0));
    let count = || {
        let done = Arc::clone(&done);
        move |_: &mut Memory| done.fetch_add(1, Ordering::SeqCst)
    };
    let mut goes = Box::pin(pool.run("test", count()));
    let mut goes_too = Box::pin(pool.run("test", count()));
    assert!(goes.as_mut().now_or_never().is_none());
    assert!(goes_too.as_mut().now_or_never().is_none());
    drop(goes);
    let mut stays = Box::pin(pool.run("test", count()));
    assert!(stays.as_mut().now_or_never().is_none(), "the queue was full of who had gone");
    drop(goes_too);

    gate.end.send(()).unwrap();
    first.await.unwrap();
    assert_eq!(stays.await, Ok(0), "nothing was counted before");
    assert_eq!(done.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_panic_costs_nobody_else_anything() {
    let pool = Pool::start(1, 4).unwrap();
    let panicked = pool.run("test", |_: &mut Memory| -> u8 { panic!("on purpose") }).await;
    assert_eq!(panicked, Err(NoResult::Ended));
    assert_eq!(pool.run("test", |_| 1).await, Ok(1));
}

#[tokio::test]
async fn as_many_work_at_once_as_there_are_threads() {
    let pool = Pool::start(3, 8).unwrap();
    let barrier = Arc::new(std::sync::Barrier::new(3));
    let meet = || {
        let barrier = Arc::clone(&barrier);
        pool.run("test", move |_| barrier.wait().is_leader())
    };
    let leaders = futures::future::join_all([meet(), meet(), meet()]).await;
    assert_eq!(leaders.into_iter().filter(|leader| *leader == Ok(true)).count(), 1);
}

#[tokio::test]
async fn a_dropped_pool_answers_whoever_waits_and_ends_its_threads() {
    let pool = Arc::new(Pool::start(2, 8).unwrap());
    let shared = Arc::downgrade(&pool.shared);
    let (gates, works): (Vec<_>, Vec<_>) = [Gate::new(), Gate::new()].into_iter().unzip();
    let run = |work| {
        let pool = Arc::downgrade(&pool);
        let enqueued = pool.upgrade().unwrap();
        let (answer, answered) = oneshot::channel();
        enqueued.enqueue(Box::new(Asked { kind: "test", asked_at: Instant::now(), work, answer })).unwrap();
        answered
    };
    let at_work: Vec<_> = works.into_iter().map(run).collect();
    gates.iter().for_each(|gate| gate.begun.recv().unwrap());
    let (answer, waits) = oneshot::channel();
    let waiting = Asked { kind: "test", asked_at: Instant::now(), work: |_: &mut Memory| 1, answer };
    pool.enqueue(Box::new(waiting)).unwrap();

    drop(pool);
    assert!(waits.await.is_err(), "it is told at once, not when its turn would come");
    gates.iter().for_each(|gate| gate.end.send(()).unwrap());
    for at_work in at_work {
        at_work.await.expect("what was begun is finished");
    }
    let begun_at = Instant::now();
    while shared.strong_count() > 0 {
        assert!(begun_at.elapsed() < Duration::from_secs(10), "a thread lives on");
        std::thread::yield_now();
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_threads_give_way_to_all_others() {
    let own = rustix::process::getpriority_process(None).unwrap();
    let pool = Pool::start(1, 1).unwrap();
    let theirs = pool.run("test", |_| rustix::process::getpriority_process(None).unwrap()).await.unwrap();
    assert_eq!(theirs, NICENESS.max(own));
    assert_eq!(rustix::process::getpriority_process(None).unwrap(), own, "only theirs is lowered");
}

#[test]
fn the_more_wait_and_the_longer_jobs_take_the_later_one_is_told_to_come_back() {
    let shared = |waiting_max| Shared {
        queue: Mutex::new(Queue { jobs: VecDeque::new(), job_seconds: 0.5, stopped: false }),
        wake: Condvar::new(),
        threads: 2,
        waiting_max,
    };
    let told = |waiting: usize, job_seconds: f64| {
        let shared = shared(waiting);
        let mut queue = shared.lock();
        queue.job_seconds = job_seconds;
        for _ in 0..waiting {
            let (answer, _) = oneshot::channel();
            let job = Asked { kind: "test", asked_at: Instant::now(), work: |_: &mut Memory| (), answer };
            queue.jobs.push_back(Box::new(job));
        }
        shared.patience(&queue).as_secs()
    };
    assert_eq!(told(0, 0.01), 1);
    assert_eq!(told(128, 0.05), 4);
    assert_eq!(told(128, 0.5), 33);
    assert_eq!(told(1000, 5.0), 60);
}
