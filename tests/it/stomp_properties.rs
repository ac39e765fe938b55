//! What holds for all frames and all ways to cut them: the parser undoes the encoder, the cuts change nothing, and an
//! idle parser holds nothing.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use quick_notify::stomp::{
    Command, CommandSet, Event, Frame, FrameWriter, Headers, Limits, ParseError, Parser, ServerCommand, Version, encode,
};

const VERSIONS: [Version; 3] = [Version::V1_0, Version::V1_1, Version::V1_2];

#[rustfmt::skip]
const COMMANDS: [Command; 11] = [
    Command::Connect, Command::Stomp, Command::Send, Command::Subscribe, Command::Unsubscribe, Command::Ack,
    Command::Nack, Command::Begin, Command::Commit, Command::Abort, Command::Disconnect,
];

#[rustfmt::skip]
const SERVER_COMMANDS: [ServerCommand; 4] =
    [ServerCommand::Connected, ServerCommand::Message, ServerCommand::Receipt, ServerCommand::Error];

/// So small that random bytes reach each of them.
const TIGHT: Limits = Limits {
    body: 12,
    headers: 3,
    header_line: 16,
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parsing_undoes_encoding((version, frames) in session(&COMMANDS)) {
        let mut parser = Parser::new(Limits::default());
        parser.set_version(version);
        let wire: Vec<u8> = frames.iter().flat_map(|frame| encode(frame, version)).collect();
        parser.feed(wire.into());
        for frame in frames {
            prop_assert_eq!(parser.next(), Ok(Some(Event::Frame(counted(frame)))));
        }
        prop_assert_eq!(parser.next(), Ok(None));
    }

    #[test]
    fn so_it_does_for_a_servers_frames((version, frames) in session(&SERVER_COMMANDS)) {
        let mut parser = Parser::of_server(Limits::default());
        parser.set_version(version);
        for frame in frames {
            parser.feed(encode(&frame, version));
            prop_assert_eq!(parser.next(), Ok(Some(Event::Frame(counted(frame)))));
            prop_assert_eq!(parser.next(), Ok(None));
        }
    }

    #[test]
    fn cuts_change_neither_frames_nor_errors(wire in soup(), cuts in vec(any::<Index>(), 0..8)) {
        let whole = read([wire.clone()]);
        prop_assert_eq!(&whole, &read(wire.iter().map(|octet| vec![*octet])), "single octets");
        prop_assert_eq!(&whole, &read(cut(&wire, &cuts)), "cut at {:?}", cuts);
    }

    #[test]
    fn cuts_do_not_change_good_frames((version, frames) in session(&COMMANDS), cuts in vec(any::<Index>(), 0..8)) {
        let mut parser = Parser::new(Limits::default());
        parser.set_version(version);
        let wire: Vec<u8> = frames.iter().flat_map(|frame| encode(frame, version)).collect();
        let mut seen = Vec::new();
        for chunk in cut(&wire, &cuts) {
            parser.feed(chunk.into());
            while let Some(event) = parser.next()? {
                seen.push(event);
            }
        }
        let expected: Vec<Event> = frames.into_iter().map(|frame| Event::Frame(counted(frame))).collect();
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn chunks_that_pile_up_are_read_as_one(wire in soup(), cuts in vec(any::<Index>(), 0..8)) {
        let mut piled = Reader::default();
        for chunk in cut(&wire, &cuts) {
            piled.parser.feed(chunk.into());
        }
        piled.pull();
        prop_assert_eq!((piled.events, piled.error), read([wire]));
    }

    /// No header may bring a header or a frame of its own, whatever a user or a token put into it.
    #[test]
    fn no_header_says_more_than_itself(
        version in select(&VERSIONS),
        command in select(&SERVER_COMMANDS),
        headers in vec(("(?s).{1,12}", "(?s).{0,24}"), 0..4),
    ) {
        let write = |writer: FrameWriter, (name, value): &(String, String)| writer.header(name, value);
        let wire = headers.iter().fold(FrameWriter::new(version, command), write).end();
        let mut parser = Parser::of_server(Limits::default());
        parser.set_version(version);
        parser.feed(wire);
        let Ok(Some(Event::Frame(frame))) = parser.next() else { panic!("not a frame") };
        prop_assert_eq!((frame.command, frame.headers.len(), frame.body.len()), (command, headers.len(), 0));
        prop_assert_eq!(parser.next(), Ok(None));
    }

    /// A credential is in neither the error nor the debug output, wherever the fault lies.
    #[test]
    fn no_error_tells_a_secret(
        name in select(&["Authorization", "authorization", "passcode", "X-API-Key"]),
        cut in any::<Index>(),
        octet in any::<u8>(),
    ) {
        const SECRET: &str = "hunter2hunter2";
        let mut wire = format!("SEND\n{name}:{SECRET}\ncontent-length:3\n\nabc\0").into_bytes();
        wire.insert(cut.index(wire.len()), octet);
        let mut reader = Reader { parser: Parser::new(Limits { header_line: 64, ..TIGHT }), ..Reader::default() };
        reader.parser.set_version(Version::V1_2);
        reader.feed(wire);
        if let Some(error) = reader.error {
            let told = format!("{error} {error:?} {:?}", reader.parser);
            prop_assert!(!told.contains("hunter") && !told.contains("2hun"), "{}", told);
        }
    }
}

#[test]
fn a_whole_frame_is_not_copied_and_the_chunk_is_let_go() {
    let chunk = Bytes::from(b"SEND\n\nbody one\0SEND\ncontent-length:8\n\nbody two\0\n".to_vec());
    let within = chunk.as_ptr_range();
    let mut parser = Parser::new(Limits::default());
    parser.feed(chunk.clone());
    for expected in ["body one", "body two"] {
        let Ok(Some(Event::Frame(frame))) = parser.next() else {
            panic!("not a frame")
        };
        assert_eq!(frame.body, expected);
        assert!(within.contains(&frame.body.as_ptr()), "a slice of the chunk");
    }
    assert!(!chunk.is_unique(), "the last octet is not read yet");
    assert_eq!(parser.next(), Ok(Some(Event::HeartBeat)));
    assert!(chunk.is_unique(), "all was read");
    assert_eq!(parser.next(), Ok(None));
}

#[test]
fn an_unfinished_frame_or_a_fault_lets_the_chunk_go() {
    for bytes in ["SEND\na:1\n\nbod", "SEND\na", "SE", "FOO\n"] {
        let chunk = Bytes::from(bytes.as_bytes().to_vec());
        let mut parser = Parser::new(Limits::default());
        parser.feed(chunk.clone());
        let _ = parser.next();
        assert!(chunk.is_unique(), "{bytes}");
    }
}

#[test]
fn a_parser_is_small() {
    assert!(size_of::<Parser>() <= 80, "{}", size_of::<Parser>());
}

/// Looking again at what was looked at would take hours here.
#[test]
fn single_octets_cost_linear_time() {
    const MANY: usize = 4 * 1024 * 1024;
    let limits = Limits {
        body: MANY,
        headers: MANY,
        header_line: MANY,
    };
    let line = "x".repeat(MANY / 4);
    let lines = "name:value\n".repeat(MANY / 40);
    let wire = format!(
        "SEND\nlong:{line}\n{lines}\n{line}\0SEND\ncontent-length:{}\n\n{line}\0",
        line.len()
    );
    let mut parser = Parser::new(limits);
    let mut frames = 0;
    for octet in wire.into_bytes() {
        parser.feed(vec![octet].into());
        frames += usize::from(parser.next().unwrap().is_some());
    }
    assert_eq!(frames, 2);
}

/// Frames that the version can say. Bodies only where they may stand.
fn session<C: CommandSet + 'static>(commands: &'static [C]) -> impl Strategy<Value = (Version, Vec<Frame<C>>)> {
    let frames = move |version| {
        vec(
            select(commands).prop_flat_map(move |command| frame(version, command)),
            0..4,
        )
    };
    select(&VERSIONS).prop_flat_map(move |version| (Just(version), frames(version)))
}

fn frame<C: CommandSet>(version: Version, command: C) -> impl Strategy<Value = Frame<C>> {
    let encoding = if command.is_handshake() { Version::V1_0 } else { version };
    let (name, value) = match encoding {
        Version::V1_0 => (
            r"[^:\r\n\x00 ]{1,12}",
            r"([^\r\n\x00 ]([^\r\n\x00]{0,20}[^\r\n\x00 ])?)?",
        ),
        Version::V1_1 => (r"([^\r\x00]|[\\:\n]){1,12}", r"([^\r\x00]|[\\:\n cn]){0,24}"),
        Version::V1_2 => (r"(?s)([^\x00]|[\\:\r\n]){1,12}", r"(?s)([^\x00]|[\\:\r\n crn]){0,24}"),
    };
    let body = vec(any::<u8>(), if command.may_have_body() { 0..48 } else { 0..1 });
    (vec((name, value), 0..6), body).prop_map(move |(headers, body)| Frame {
        command,
        headers: headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect(),
        body: body.into(),
    })
}

/// The frame as it comes back: with the content-length that the encoder adds.
fn counted<C>(mut frame: Frame<C>) -> Frame<C> {
    if !frame.body.is_empty() {
        let mut headers: Headers = frame.headers.iter().collect();
        headers.push("content-length", &frame.body.len().to_string());
        frame.headers = headers;
    }
    frame
}

/// Bytes that look enough like STOMP to get everywhere in the parser, and wrong enough to fail anywhere.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    // Begin well, or most soups end at the first command.
    const BEGINNINGS: &[&[u8]] = &[
        b"",
        b"SEND\n",
        b"CONNECT\naccept-version:1.2\n\n\0",
        b"CONNECT\n\n\0SEND\n",
    ];
    #[rustfmt::skip]
    const PIECES: &[&[u8]] = &[
        b"CONNECT\n", b"accept-version:1.1\n", b"accept-version:1.2\n", b"SEND\n", b"SEND\n", b"SEND\r\n", b"ACK\n", b"SUBSCRIBE\n",
        b"a:1\n", b"a:1\r\n", b"a:\\c\\n\n", b"a:\\r\n", b"a:\\t\n", b"receipt:r\n", b"0123456789:1234\n", b"0123456789:12345\r\n",
        b"content-length:0\n", b"content-length:5\n", b"content-length:12\n", b"content-length:13\n", b"content-length:x\n",
        b"\n", b"\n", b"\r\n", b"\r", b"\0", b"\0", b"\n\0", b"\n\0", b"body\0", b"ab\0cd\0", b"0123456789ab\0", b"0123456789abc", b"\xc3", b"\xa4",
        b":", b"\\", b" ", b"x",
    ];
    let piece = prop_oneof![12 => select(PIECES).prop_map(<[u8]>::to_vec), 1 => vec(any::<u8>(), 1..4)];
    let beginning = select(BEGINNINGS);
    (beginning, vec(piece, 0..16)).prop_map(|(beginning, pieces)| [beginning.to_vec(), pieces.concat()].concat())
}

fn cut(wire: &[u8], cuts: &[Index]) -> Vec<Vec<u8>> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
    places.extend([0, wire.len()]);
    places.sort_unstable();
    places.windows(2).map(|ends| wire[ends[0]..ends[1]].to_vec()).collect()
}

fn read(chunks: impl IntoIterator<Item = Vec<u8>>) -> (Vec<Event>, Option<ParseError>) {
    let mut reader = Reader::default();
    chunks.into_iter().for_each(|chunk| reader.feed(chunk));
    (reader.events, reader.error)
}

/// A server as far as reading goes: what CONNECT asks for holds from the next frame on.
struct Reader {
    parser: Parser,
    events: Vec<Event>,
    error: Option<ParseError>,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader {
            parser: Parser::new(TIGHT),
            events: Vec::new(),
            error: None,
        }
    }
}

impl Reader {
    fn feed(&mut self, chunk: Vec<u8>) {
        self.parser.feed(chunk.into());
        self.pull();
    }

    fn pull(&mut self) {
        loop {
            match self.parser.next() {
                Ok(None) => return,
                Ok(Some(event)) => {
                    if let Event::Frame(Frame {
                        command: Command::Connect,
                        headers,
                        ..
                    }) = &event
                    {
                        let version = Version::negotiate(headers.get("accept-version"));
                        self.parser.set_version(version.unwrap_or(Version::V1_0));
                    }
                    self.events.push(event);
                }
                Err(error) => {
                    assert_eq!(self.error.replace(error), None, "one error is all");
                }
            }
        }
    }
}
