//! What the STOMP codec costs alone, in this process: no socket, no session.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quick_notify::stomp::{Event, FrameWriter, Limits, Parser, ServerCommand, Version};

use crate::Options;
use crate::stats::{Bar, Table};

const ID: &str = "ntf_0198f0c4a7b37c1e9d5f3a2b1c0d9e8f";

pub fn run(options: &Options, table: &mut Table) -> anyhow::Result<()> {
    table.section("codec: one frame");
    let time = Duration::from_millis(if options.quick { 50 } else { 500 });

    let mut parser = Parser::new(Limits::default());
    parser.set_version(Version::V1_2);
    let ack = Bytes::from(format!("ACK\nid:{ID}\nreceipt:17\n\n\0"));
    let parse = nanos(time, || {
        parser.feed(ack.clone());
        assert!(matches!(black_box(parser.next()), Ok(Some(Event::Frame(_)))));
        assert!(matches!(parser.next(), Ok(None)));
    });
    table.row("parse an ACK", parse, "ns", Bar::None);

    let body = format!(
        r#"{{"id":"{ID}","type":"STRING_MSG","receiver":"test1","data":"Your parcel has left the warehouse","viewed":false,"created":1700000000000,"ack_retry_count":0,"ack_last_sent":1700000000000}}"#
    );
    let encode = nanos(time, || {
        let frame = FrameWriter::new(Version::V1_2, ServerCommand::Message)
            .header("destination", "/user/queue/msg")
            .header("subscription", "0")
            .header("message-id", ID)
            .header("ack", ID)
            .header("seq", "17")
            .header("attempt", "1")
            .header("content-type", "application/json")
            .body(black_box(body.as_bytes()));
        black_box(frame);
    });
    table.row("encode a MESSAGE", encode, "ns", Bar::None);
    Ok(())
}

/// The best of some rounds: what the code takes when nobody disturbs it.
fn nanos(time: Duration, mut work: impl FnMut()) -> f64 {
    const ROUND: u32 = 1_000;
    let start = Instant::now();
    let mut best = Duration::MAX;
    while start.elapsed() < time {
        let round = Instant::now();
        for _ in 0..ROUND {
            work();
        }
        best = best.min(round.elapsed());
    }
    best.as_secs_f64() * 1e9 / f64::from(ROUND)
}
