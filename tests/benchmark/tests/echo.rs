//! A few invocations of the real echo through the simulator, as the benchmark makes them. Nothing timed is asserted.
#![cfg(target_os = "linux")]

use benchmark::case::Case;
use benchmark::child;
use benchmark::hold::Way;
use benchmark::measure::{Bench, Condition};
use std::fs;
use std::path::Path;
use std::time::Duration;

#[test]
fn echo_is_started_asked_and_ended() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("echo");
    fs::create_dir_all(&folder).expect("a folder");
    let mut bench = Bench::start(&folder, child::cpus().expect("CPUs")).expect("a bench");
    let mut echo = Case::echo(Path::new(env!("CARGO_BIN_EXE_benchmark-echo"))).expect("echo");
    bench.play(&mut echo).expect("played");
    let [init, first, last] = echo.played.clone().expect("played");
    assert!([init, first, last].iter().all(|heard| heard.calls.is_empty() && heard.connections == 0));
    let sample = bench.measure(&mut echo, Condition::default(), 5).expect("measured");
    assert_eq!((sample.warm.len(), sample.calls), (5, 0));
    assert!(sample.memory > 0 && sample.warm_cpu > Duration::ZERO && sample.init > Duration::ZERO);
}

#[test]
fn a_process_that_is_held_answers_all_the_same() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("held");
    fs::create_dir_all(&folder).expect("a folder");
    let mut bench = Bench::start(&folder, child::cpus().expect("CPUs")).expect("a bench");
    bench.way = Way::StopAndGo;
    let mut echo = Case::echo(Path::new(env!("CARGO_BIN_EXE_benchmark-echo"))).expect("echo");
    let condition = Condition { share: Some(0.1), ..Condition::default() };
    assert_eq!(bench.measure(&mut echo, condition, 5).expect("measured").warm.len(), 5);
}
