//! When to send a heart-beat, and when the silence of the peer means that it is dead (STOMP 1.2, Heart-beating).
//!
//! Sends nothing and waits for nothing: the time is an argument, [`HeartBeat::due`] says until when to sleep, and
//! [`HeartBeat::poll`] what to do then. Forty octets a session, as it is kept for every idle one.

use std::fmt;
use std::time::{Duration, Instant};

use super::fault::excerpt;

/// One side's `heart-beat` header. Zero is "I cannot" or "I need none".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// The shortest interval at which it can promise to send.
    pub can_send: Duration,
    /// The interval at which it would like to hear the other.
    pub wants: Duration,
}

/// The header is not two numbers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("heart-beat \"{value}\" is not two numbers of milliseconds with a comma between, such as 10000,10000")]
pub struct BadHeartBeat {
    value: String,
}

impl Offer {
    /// Neither sends nor wants; the same as no header at all.
    pub const NONE: Offer = Offer {
        can_send: Duration::ZERO,
        wants: Duration::ZERO,
    };

    /// Reads the header of CONNECT or CONNECTED. Spaces around the numbers are forgiven; an interval beyond 49 days is
    /// taken as 49 days, which no session can tell from it.
    pub fn parse(header: Option<&str>) -> Result<Offer, BadHeartBeat> {
        let Some(header) = header else {
            return Ok(Offer::NONE);
        };
        let numbers = header.split_once(',').and_then(|(can_send, wants)| {
            Some(Offer {
                can_send: milliseconds(can_send)?,
                wants: milliseconds(wants)?,
            })
        });
        numbers.ok_or_else(|| BadHeartBeat { value: excerpt(header) })
    }
}

/// As the header's value: `10000,10000`.
impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.can_send.as_millis(), self.wants.as_millis())
    }
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send an end-of-line.
    Send,
    /// Give the connection up: the peer promised to beat, and was silent for longer than patience goes.
    Dead,
}

/// How late this side may look and still say that the peer was silent.
const LATE: Duration = Duration::from_secs(1);

/// Both directions of one connection's heart-beats.
#[derive(Clone, Copy, Debug)]
pub struct HeartBeat {
    last_sent: Instant,
    last_received: Instant,
    /// After how many milliseconds without a word of ours to send one; 0 for never.
    send_after: u32,
    /// After how many milliseconds of the peer's silence to give up; 0 for never.
    dead_after: u32,
}

impl HeartBeat {
    /// What both offers come to: in each direction the longer of the two intervals, or nothing where either is zero.
    /// So a peer that said 0 is never sent a beat that it does not want, and never dropped for one that it cannot send.
    ///
    /// `grace` is how many further intervals a silent peer is given, between 1 and 4: the specification asks for an
    /// error margin, and a beat that comes late is no reason to lose a session.
    pub fn negotiate(ours: Offer, theirs: Offer, grace: u32, now: Instant) -> HeartBeat {
        let send_every = agreed(ours.can_send, theirs.wants);
        let expect_every = agreed(theirs.can_send, ours.wants);
        HeartBeat {
            last_sent: now,
            last_received: now,
            send_after: early(send_every),
            dead_after: expect_every.saturating_mul(1 + grace.clamp(1, 4)),
        }
    }

    /// Anything was sent; a frame is as good as a beat.
    pub fn on_sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    /// Anything was received; half a frame is as good as a beat.
    pub fn on_received(&mut self, now: Instant) {
        self.last_received = now;
    }

    /// When to [`poll`](HeartBeat::poll) next, unless something is sent or received before; `None` for never.
    pub fn due(&self) -> Option<Instant> {
        let send = after(self.last_sent, self.send_after);
        let dead = after(self.last_received, self.dead_after);
        send.into_iter().chain(dead).min()
    }

    /// What is to be done at this time; to be asked until there is nothing. `Send` counts as sent, and `Dead` is the
    /// last word.
    pub fn poll(&mut self, now: Instant) -> Option<Action> {
        let over = |deadline: Option<Instant>| deadline.filter(|deadline| *deadline <= now);
        if let Some(deadline) = over(after(self.last_received, self.dead_after)) {
            if now - deadline <= LATE {
                self.send_after = 0;
                self.dead_after = 0;
                return Some(Action::Dead);
            }
            // It is this side that slept, and what the peer sent meanwhile may lie unread: a moment for that, and no more.
            self.last_received += now - deadline + LATE;
        }
        if over(after(self.last_sent, self.send_after)).is_some() {
            self.last_sent = now;
            return Some(Action::Send);
        }
        None
    }
}

/// The interval in milliseconds at which one side sends and the other listens.
fn agreed(can_send: Duration, wants: Duration) -> u32 {
    if can_send.is_zero() || wants.is_zero() {
        return 0;
    }
    // A Duration below a millisecond is no offer that the header could make.
    u32::try_from(can_send.max(wants).as_millis())
        .unwrap_or(u32::MAX)
        .max(1)
}

/// The beat must be *there* within the interval: timers fire late and networks take time, so it
/// leaves when seven eighths are over.
fn early(interval: u32) -> u32 {
    interval - interval / 8
}

fn after(instant: Instant, milliseconds: u32) -> Option<Instant> {
    (milliseconds > 0).then(|| instant + Duration::from_millis(milliseconds.into()))
}

fn milliseconds(number: &str) -> Option<Duration> {
    let number = number.trim_matches(' ');
    if number.is_empty() || !number.bytes().all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    // All are digits, so what does not fit is a large number.
    Some(Duration::from_millis(number.parse::<u32>().unwrap_or(u32::MAX).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn offer(can_send: u64, wants: u64) -> Offer {
        Offer {
            can_send: Duration::from_millis(can_send),
            wants: Duration::from_millis(wants),
        }
    }

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    const SERVER: Offer = offer(10_000, 10_000);

    #[test]
    fn the_header_is_read_and_written() {
        assert_eq!(Offer::parse(None), Ok(Offer::NONE));
        assert_eq!(Offer::parse(Some("0,0")), Ok(Offer::NONE));
        assert_eq!(Offer::parse(Some("10000,5000")), Ok(offer(10_000, 5_000)));
        assert_eq!(Offer::parse(Some(" 1, 2 ")), Ok(offer(1, 2)));
        assert_eq!(
            Offer::parse(Some("99999999999999999999,0")),
            Ok(offer(u32::MAX.into(), 0))
        );
        assert_eq!(SERVER.to_string(), "10000,10000");
        for bad in [
            "", "10000", ",", "1,", ",1", "-1,0", "+1,0", "1,2,3", "1.5,2", "a,b", "1;2", "１,２",
        ] {
            let error = Offer::parse(Some(bad)).expect_err(bad);
            assert!(error.to_string().contains(bad), "{error}");
        }
        assert!(Offer::parse(Some(&"9x".repeat(10_000))).unwrap_err().to_string().len() < 200);
    }

    #[test]
    fn our_beat_leaves_before_the_interval_is_over_and_only_when_nothing_else_was_sent() {
        let start = Instant::now();
        let mut beat = HeartBeat::negotiate(SERVER, offer(0, 10_000), 1, start);
        assert_eq!(beat.due(), Some(start + ms(8_750)));
        assert_eq!(beat.poll(start + ms(8_749)), None);
        beat.on_sent(start + ms(8_000));
        assert_eq!(beat.poll(start + ms(8_750)), None, "a frame is as good as a beat");
        assert_eq!(beat.poll(start + ms(16_750)), Some(Action::Send));
        assert_eq!(beat.poll(start + ms(16_750)), None, "a beat is asked for once");
        assert_eq!(beat.due(), Some(start + ms(25_500)));
    }

    #[test]
    fn a_silent_peer_is_dead_after_its_grace_and_a_late_one_is_not() {
        let start = Instant::now();
        for (grace, windows) in [(0, 2), (1, 2), (2, 3), (4, 5), (9, 5)] {
            let mut beat = HeartBeat::negotiate(SERVER, offer(10_000, 0), grace, start);
            let end = start + ms(10_000) * windows;
            assert_eq!(beat.due(), Some(end), "grace {grace}");
            assert_eq!(beat.poll(end - ms(1)), None);
            beat.on_received(end - ms(1));
            assert_eq!(beat.poll(end), None, "it spoke at the last moment");
            let end = end - ms(1) + ms(10_000) * windows;
            assert_eq!(beat.poll(end), Some(Action::Dead));
            assert_eq!(
                (beat.poll(end + ms(99_999)), beat.due()),
                (None, None),
                "dead is the last word"
            );
        }
    }

    #[test]
    fn the_longer_interval_holds_in_each_direction() {
        let start = Instant::now();
        let beat = HeartBeat::negotiate(SERVER, offer(30_000, 20_000), 1, start);
        assert_eq!((beat.send_after, beat.dead_after), (17_500, 60_000));
        let beat = HeartBeat::negotiate(SERVER, offer(1, 1), 1, start);
        assert_eq!((beat.send_after, beat.dead_after), (8_750, 20_000));
    }

    #[test]
    fn who_said_zero_is_neither_sent_a_beat_nor_dropped() {
        let start = Instant::now();
        for (ours, theirs) in [(SERVER, Offer::NONE), (Offer::NONE, SERVER), (SERVER, offer(0, 0))] {
            let mut beat = HeartBeat::negotiate(ours, theirs, 1, start);
            assert_eq!(beat.due(), None);
            assert_eq!(beat.poll(start + ms(1_000_000_000)), None);
        }
    }

    #[test]
    fn a_late_poll_finds_the_dead_before_it_beats() {
        let start = Instant::now();
        let mut beat = HeartBeat::negotiate(SERVER, SERVER, 1, start);
        assert_eq!(beat.poll(start + ms(20_000)), Some(Action::Dead));
    }

    #[test]
    fn extreme_offers_neither_overflow_nor_spin() {
        let start = Instant::now();
        let longest = Offer {
            can_send: Duration::MAX,
            wants: Duration::MAX,
        };
        let mut beat = HeartBeat::negotiate(longest, longest, u32::MAX, start);
        assert!(beat.due().is_some_and(|due| due > start + ms(3_000_000_000)));
        assert_eq!(beat.poll(start), None);
        let shortest = Offer {
            can_send: Duration::from_nanos(1),
            wants: Duration::from_nanos(1),
        };
        let beat = HeartBeat::negotiate(shortest, shortest, 1, start);
        assert_eq!(beat.due(), Some(start + ms(1)));
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<HeartBeat>() <= 40);
    }
}
