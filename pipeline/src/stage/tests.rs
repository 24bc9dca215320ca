//! What the stage promises: everything arrives, memory is bounded, order is kept, the first error is the one returned,
//! and nobody is left waiting.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::{Inbox, Outbox, Stop, Turnstile, Weighed, run};
use crate::{Error, ErrorKind, Result};

/// An item: its number and its weight.
#[derive(Debug, Clone, Copy)]
struct Item(usize, usize);

impl Weighed for Item {
    fn bytes(&self) -> usize {
        self.1
    }
}

type Produce<'a> = Box<dyn FnOnce(&Outbox<Item>) -> Result<usize> + Send + 'a>;
type Consume<'a> = Box<dyn FnOnce(&Inbox<Item>) -> Result<usize> + Send + 'a>;

fn produce<'a>(items: usize, bytes: usize) -> Produce<'a> {
    Box::new(move |outbox| (0..items).try_for_each(|n| outbox.send(Item(n, bytes))).map(|()| items))
}

fn consume<'a>() -> Consume<'a> {
    Box::new(|inbox| {
        let mut seen = 0;
        while let Some((_, _permit)) = inbox.recv()? {
            seen += 1;
        }
        Ok(seen)
    })
}

fn broken(what: &str) -> Error {
    Error::corrupt(what)
}

#[test]
fn everything_arrives_and_results_keep_their_order() {
    let producers: Vec<Produce<'_>> = (0..4).map(|n| produce(100 * n, 7)).collect();
    let (produced, consumed) = run(50, &Stop::new(), producers, vec![consume(), consume(), consume()]).unwrap();
    assert_eq!(produced, [0, 100, 200, 300]);
    assert_eq!(consumed.iter().sum::<usize>(), 600);
}

#[test]
fn no_producers_and_no_workers_at_all_are_fine() {
    assert_eq!(run(1, &Stop::new(), Vec::<Produce<'_>>::new(), vec![consume()]).unwrap(), (vec![], vec![0]));
    let nobody = run(1, &Stop::new(), Vec::<Produce<'_>>::new(), Vec::<Consume<'_>>::new()).unwrap();
    assert_eq!(nobody, (vec![], vec![]));
}

#[test]
fn bytes_under_way_stay_within_the_budget_and_large_items_pass_alone() {
    let (under_way, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let produce = |outbox: &Outbox<Item>| {
        [30, 1, 1000, 0, 99, 100, 101, 5].iter().cycle().take(800).try_for_each(|bytes| outbox.send(Item(0, *bytes)))
    };
    let consume = |inbox: &Inbox<Item>| {
        while let Some((item, permit)) = inbox.recv()? {
            let bytes = item.bytes().min(100);
            most.fetch_max(under_way.fetch_add(bytes, Ordering::SeqCst) + bytes, Ordering::SeqCst);
            std::thread::yield_now();
            under_way.fetch_sub(bytes, Ordering::SeqCst);
            drop(permit);
        }
        Ok(())
    };
    run(100, &Stop::new(), vec![produce; 3], vec![consume; 3]).unwrap();
    assert!((1..=100).contains(&most.load(Ordering::SeqCst)), "{most:?}");
}

#[test]
fn a_failing_consumer_frees_blocked_producers() {
    let fail: Consume<'_> = Box::new(|inbox| {
        inbox.recv()?;
        Err(broken("loader"))
    });
    let error = run(10, &Stop::new(), vec![produce(1000, 10), produce(1000, 10)], vec![fail]).unwrap_err();
    assert_eq!(error.to_string(), "loader");
}

#[test]
fn a_failing_producer_frees_waiting_consumers_and_is_no_end_of_input() {
    let hold: Produce<'_> = Box::new(|outbox| {
        outbox.stop().halted().recv().unwrap_err();
        outbox.stop().check().map(|()| 0)
    });
    let fail: Produce<'_> = Box::new(|_| Err(broken("scanner")));
    let observe = |inbox: &Inbox<Item>| {
        assert_eq!(inbox.recv().map(|_| ()).unwrap_err().kind(), ErrorKind::Stopped);
        Err::<(), _>(Error::new(ErrorKind::Stopped, "stopped"))
    };
    let error = run(10, &Stop::new(), vec![hold, fail], vec![observe, observe]).unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Corrupt, "scanner"));
}

#[test]
fn a_consumer_that_waits_is_told_so() {
    let produce: Produce<'_> = Box::new(|outbox| {
        std::thread::sleep(Duration::from_millis(100));
        outbox.send(Item(0, 1)).map(|()| 0)
    });
    let consume: Consume<'_> = Box::new(|inbox| {
        let mut idle = 0;
        let mut tick = || {
            idle += 1;
            Ok(())
        };
        assert!(inbox.recv_or(Duration::from_millis(1), &mut tick)?.is_some());
        assert!(inbox.recv_or(Duration::from_millis(1), &mut tick)?.is_none());
        Ok(idle)
    });
    let (_, consumed) = run(10, &Stop::new(), vec![produce], vec![consume]).unwrap();
    assert!(consumed[0] > 5, "{consumed:?}");
}

#[test]
fn panics_and_early_ends_are_bugs() {
    let panics: Consume<'_> = Box::new(|_| panic!("on {}", "purpose"));
    let error = run(10, &Stop::new(), vec![produce(1000, 10)], vec![panics]).unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Bug, "consumer-0 panicked: on purpose"));
    let ends: Consume<'_> = Box::new(|_| Ok(0));
    let error = run(10, &Stop::new(), vec![produce(1000, 10)], vec![ends]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Bug);
    let error = run(10, &Stop::new(), vec![produce(1000, 10)], Vec::<Consume<'_>>::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Bug);
}

#[test]
fn an_interruption_wakes_whoever_waits() {
    for (producers, consumers) in [(0, 2), (2, 0)] {
        let stop = Stop::new();
        // One worker holds its end of the queue, so that the others can only wait.
        let hold_outbox: Produce<'_> = Box::new(|outbox| Ok(outbox.stop().halted().recv().is_ok().into()));
        let hold_inbox: Consume<'_> = Box::new(|inbox| Ok(inbox.stop().halted().recv().is_ok().into()));
        let mut produce: Vec<Produce<'_>> = (0..producers).map(|_| produce(1000, 10)).collect();
        let mut consume: Vec<Consume<'_>> = (0..consumers).map(|_| consume()).collect();
        produce.push(hold_outbox);
        consume.push(hold_inbox);
        let from_outside = stop.clone();
        let signal = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            from_outside.interrupt();
        });
        let error = run(10, &stop, produce, consume).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
        assert_eq!(stop.check().unwrap_err().kind(), ErrorKind::Interrupted);
        signal.join().unwrap();
        let again = run(10, &stop, vec![super::tests::produce(1, 1)], vec![super::tests::consume()]);
        assert_eq!(again.unwrap_err().kind(), ErrorKind::Interrupted);
    }
}

#[test]
fn an_interruption_wakes_whoever_waits_for_a_turn() {
    let (stop, turnstile) = (Stop::new(), Turnstile::new(5, 0));
    let scan = |outbox: &Outbox<Item>| {
        turnstile.serve(outbox, |lane| match lane.partition() {
            0 => outbox.stop().halted().recv().map_err(|_| Error::new(ErrorKind::Stopped, "stopped")),
            _ => {
                // The others are about to wait for their turn, or do already.
                outbox.stop().interrupt();
                lane.send(Item(0, 1))
            }
        })
    };
    assert_eq!(run(1, &stop, vec![scan; 3], vec![consume()]).unwrap_err().kind(), ErrorKind::Interrupted);
}

/// Which worker fails, and after how many items.
#[derive(Debug, Clone, Copy)]
enum Failure {
    Nowhere,
    Scanner(usize),
    Loader(usize),
}

/// Scans partitions of these weights in order, and returns the (partition, item) pairs that arrived.
fn scan_in_order(
    partitions: &[Vec<usize>],
    scanners: usize,
    (budget, share): (usize, usize),
    failure: Failure,
) -> Result<Vec<(usize, usize)>> {
    let turnstile = Turnstile::new(partitions.len(), share);
    let sent = AtomicUsize::new(0);
    let scan = |outbox: &Outbox<(usize, Item)>| {
        turnstile.serve(outbox, |lane| {
            let partition = lane.partition();
            for (number, bytes) in partitions[partition].iter().enumerate() {
                let at = sent.fetch_add(1, Ordering::SeqCst);
                if matches!(failure, Failure::Scanner(n) if n == at) {
                    return Err(broken("here"));
                }
                lane.send((partition, Item(number, *bytes)))?;
            }
            Ok(())
        })
    };
    let load = |inbox: &Inbox<(usize, Item)>| {
        let mut seen = Vec::new();
        while let Some(((partition, item), _permit)) = inbox.recv()? {
            if matches!(failure, Failure::Loader(n) if n == seen.len()) {
                return Err(broken("here"));
            }
            seen.push((partition, item.0));
        }
        Ok(seen)
    };
    run(budget, &Stop::new(), vec![scan; scanners], vec![load]).map(|(_, mut seen)| seen.remove(0))
}

impl Weighed for (usize, Item) {
    fn bytes(&self) -> usize {
        self.1.bytes()
    }
}

proptest! {
    #[test]
    fn partitions_arrive_in_order_or_the_error_does(
        partitions in prop::collection::vec(prop::collection::vec(0usize..40, 0..12), 0..12),
        scanners in 1usize..6,
        limits in (0usize..60, 0usize..60),
        at in 0usize..60,
        side in 0..3,
    ) {
        let failure = [Failure::Nowhere, Failure::Scanner(at), Failure::Loader(at)][side as usize];
        let expected: Vec<_> =
            partitions.iter().enumerate().flat_map(|(p, items)| (0..items.len()).map(move |n| (p, n))).collect();
        let fails = !matches!(failure, Failure::Nowhere) && at < expected.len();
        match scan_in_order(&partitions, scanners, limits, failure) {
            Ok(seen) => prop_assert!(!fails && seen == expected, "{seen:?}"),
            Err(error) => prop_assert!(fails && error.to_string() == "here", "{error:?}"),
        }
    }
}
