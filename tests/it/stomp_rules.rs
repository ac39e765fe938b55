//! One table of bytes for each rule of the STOMP specifications, named by the section that it stands in. Sections are
//! those of STOMP 1.2 unless a row says otherwise; "side taken" marks what the parser's documentation decides itself.

use bytes::Bytes;
use quick_notify::stomp::{
    Command, Event, Frame, FrameWriter, Headers, Kind, Limits, ParseError, Parser, ServerCommand, Version, encode,
};

use Version::{V1_0, V1_1, V1_2};

const ALL: [Version; 3] = [V1_0, V1_1, V1_2];
const ESCAPING: [Version; 2] = [V1_1, V1_2];

/// Small ones, so that a row can exceed them.
const LIMITS: Limits = Limits {
    body: 20,
    headers: 4,
    header_line: 40,
};

/// The rule, the versions that it holds in, the bytes, and what they come to.
type Row<T> = (&'static str, &'static [Version], &'static [u8], T);

/// What the bytes come to, in one word each: `COMMAND name=value|name=value body`, `beat`, or the error's text.
fn read_by(mut parser: Parser, bytes: &[u8]) -> Vec<String> {
    parser.feed(bytes.to_vec().into());
    let mut seen = Vec::new();
    loop {
        match parser.next() {
            Ok(Some(event)) => seen.push(shown(&event)),
            Ok(None) => return seen,
            Err(error) => seen.push(format!("{:?}: {error}", error.kind())),
        }
    }
}

fn read(version: Version, bytes: &[u8]) -> Vec<String> {
    let mut parser = Parser::new(LIMITS);
    parser.set_version(version);
    read_by(parser, bytes)
}

fn shown(event: &Event) -> String {
    let Event::Frame(frame) = event else {
        return "beat".to_owned();
    };
    let headers: Vec<String> = frame
        .headers
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let mut text = frame.command.as_str().to_owned();
    if frame.headers.len() + frame.body.len() > 0 {
        text = format!("{text} {}", headers.join("|"));
    }
    if !frame.body.is_empty() {
        text = format!("{text} {}", frame.body.escape_ascii());
    }
    text
}

fn error_of(parser: &mut Parser, bytes: &[u8]) -> ParseError {
    parser.feed(bytes.to_vec().into());
    loop {
        match parser.next() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("{} was accepted", bytes.escape_ascii()),
            Err(error) => return error,
        }
    }
}

#[test]
fn frames_that_the_specification_allows() {
    #[rustfmt::skip]
    let table: &[Row<&[&str]>] = &[
        ("STOMP Frames: command, headers, body, NUL", &ALL, b"SEND\na:1\nb:2\n\nhello\0", &["SEND a=1|b=2 hello"]),
        ("STOMP Frames: zero headers", &ALL, b"DISCONNECT\n\n\0", &["DISCONNECT"]),
        ("STOMP Frames: EOL is an optional CR and an LF", &ALL, b"SEND\r\na:1\r\n\r\nx\0", &["SEND a=1 x"]),
        ("STOMP Frames: both ends mixed", &ALL, b"SEND\r\na:1\n\r\nx\0", &["SEND a=1 x"]),
        ("STOMP Frames: an EOL in the body is body", &ALL, b"SEND\n\n\r\n\n\0", &["SEND  \\r\\n\\n"]),
        ("STOMP Frames: EOLs may follow the NUL", &ALL, b"ACK\n\n\0\n\r\nACK\n\n\0", &["ACK", "beat", "beat", "ACK"]),
        ("STOMP Frames: header names are case sensitive", &ALL, b"SEND\nContent-Length:1\n\nab\0", &["SEND Content-Length=1 ab"]),
        ("Augmented BNF: an empty header value", &ALL, b"SEND\na:\n\n\0", &["SEND a="]),
        ("Augmented BNF: frames behind one another", &ALL, b"BEGIN\n\n\0COMMIT\n\n\0", &["BEGIN", "COMMIT"]),
        ("Value Encoding: UTF-8", &ALL, "SEND\nschlüssel:日本\n\n\0".as_bytes(), &["SEND schlüssel=日本"]),
        ("Value Encoding: \\n \\c \\\\", &ESCAPING, br"SEND|a\cb:1\n2\c3\\4||.", &["SEND a:b=1\n2:3\\4"]),
        ("Value Encoding: \\\\n is a backslash and an n", &ESCAPING, br"SEND|a:\\n||.", &["SEND a=\\n"]),
        ("Value Encoding: \\r", &[V1_2], br"SEND|a:1\r2||.", &["SEND a=1\r2"]),
        ("Value Encoding: CONNECT is not unescaped", &ALL, br"CONNECT|passcode:a\c\t\||.", &["CONNECT passcode=a\\c\\t\\"]),
        ("CONNECT or STOMP Frame: STOMP is as CONNECT", &ALL, br"STOMP|passcode:a\c\t\||.", &["STOMP passcode=a\\c\\t\\"]),
        ("1.0 has no escapes", &[V1_0], br"SEND|a:1\c\t\||.", &["SEND a=1\\c\\t\\"]),
        ("Value Encoding: never trimmed", &ESCAPING, b"SEND\n a : 1 \n\n\0", &["SEND  a = 1 "]),
        ("1.0, its examples pad values", &[V1_0], b"SUBSCRIBE\ndestination: /queue/foo \n\n\0", &["SUBSCRIBE destination=/queue/foo"]),
        ("side taken: CONNECT is not trimmed", &ALL, b"CONNECT\npasscode: x \n\n\0", &["CONNECT passcode= x "]),
        ("side taken: a bare colon in a value", &ALL, b"SEND\na:http://x:1\n\n\0", &["SEND a=http://x:1"]),
        ("1.0 and 1.1, BNF: a bare CR in a header", &[V1_0, V1_1], b"SEND\na:1\r2\n\n\0", &["SEND a=1\r2"]),
        ("Header content-length: NULs in the body", &ALL, b"SEND\ncontent-length:3\n\n\0a\0\0", &["SEND content-length=3 \\x00a\\x00"]),
        ("Header content-length: all frames may have it", &ALL, b"ACK\ncontent-length:0\n\n\0", &["ACK content-length=0"]),
        ("Header content-length: leading zeros are decimal", &ALL, b"SEND\ncontent-length:0001\n\na\0", &["SEND content-length=0001 a"]),
        ("Body: without content-length it ends at the first NUL", &ALL, b"SEND\n\na\0\n", &["SEND  a", "beat"]),
        ("1.0, SUBSCRIBE: its body is ignored", &[V1_0], b"SUBSCRIBE\na:1\n\nbody\0SUBSCRIBE\ncontent-length:2\n\n\0\0\0", &["SUBSCRIBE a=1", "SUBSCRIBE content-length=2"]),
        ("Repeated Header Entries: kept, in order", &ALL, b"SEND\na:1\na:2\n\n\0", &["SEND a=1|a=2"]),
        ("Repeated Header Entries: the first content-length", &ALL, b"SEND\ncontent-length:1\ncontent-length:9\n\na\0", &["SEND content-length=1|content-length=9 a"]),
        ("Heart-beating: an EOL", &ALL, b"\n\r\n\n", &["beat", "beat", "beat"]),
        ("Size Limits: the largest body", &ALL, b"SEND\n\n01234567890123456789\0", &["SEND  01234567890123456789"]),
        ("Size Limits: the largest counted body", &ALL, b"SEND\ncontent-length:20\n\n01234567890123456789\0", &["SEND content-length=20 01234567890123456789"]),
        ("Size Limits: the most headers", &ALL, b"SEND\na:1\na:2\na:3\na:4\n\n\0", &["SEND a=1|a=2|a=3|a=4"]),
        ("Size Limits: the longest line", &ALL, b"SEND\na:23456789012345678901234567890123456789\r\n\n\0", &["SEND a=23456789012345678901234567890123456789"]),
    ];
    for (rule, versions, bytes, expected) in table {
        for version in *versions {
            assert_eq!(read(*version, &wire(bytes)), *expected, "{rule}, in {version}");
        }
    }
}

#[test]
fn frames_that_the_specification_refuses() {
    #[rustfmt::skip]
    let table: &[Row<&str>] = &[
        ("Augmented BNF: an unknown command", &ALL, b"FOO\n\n\0", "Malformed: unknown command \"FOO\""),
        ("Augmented BNF: a server's command", &ALL, b"MESSAGE\n\n\0", "Malformed: unknown command \"MESSAGE\""),
        ("STOMP Frames: commands are case sensitive", &ALL, b"send\n\n\0", "Malformed: unknown command \"send\""),
        ("Augmented BNF: a command with a blank", &ALL, b"SEND \n\n\0", "Malformed: unknown command \"SEND \""),
        ("Augmented BNF: CR without LF", &ALL, b"\rSEND\n\n\0", "Malformed: unknown command \"\\rSEND\""),
        ("Value Encoding: a command is UTF-8", &ALL, b"SEND\xff\n\n\0", "Malformed: unknown command \"SEND\\xff\""),
        ("side taken: a header in the command's place is not quoted", &ALL, b"passcode:secret\n\n\0", "Malformed: unknown command \"passcode…\""),
        ("side taken: a command's line is short", &ALL, b"0123456789012345678901234567890123456789", "Malformed: unknown command \"01234567890123456789012345678901…\""),
        ("side taken: NUL between frames", &ALL, b"\0", "Malformed: a NUL stands before the empty line that ends the headers"),
        ("side taken: NUL in a header", &ALL, b"SEND\na:\0\n\n\0", "Malformed: a NUL stands before the empty line that ends the headers"),
        ("Augmented BNF: no empty line", &ALL, b"DISCONNECT\nreceipt:77\n\0", "Malformed: a NUL stands before the empty line that ends the headers"),
        ("Value Encoding: a header is UTF-8", &ALL, b"SEND\na:\xff\n\n\0", "Malformed: header line 1 is not UTF-8"),
        ("Augmented BNF: a header has a colon", &ALL, b"SEND\na:1\nsecret\n\n\0", "Malformed: header line 2 (6 octets) has no colon"),
        ("Augmented BNF: a header has a name", &ALL, b"SEND\n:1\n\n\0", "Malformed: header line 1 has no name before its colon"),
        ("Augmented BNF: no bare CR in a header", &[V1_2], b"SEND\na:1\r2\n\n\0", "Malformed: header line 1 has a carriage return that does not end the line"),
        ("Value Encoding: \\t is undefined", &[V1_1], br"SEND|a:\t||.", "Malformed: header \"a\" has the escape \"\\t\", which STOMP 1.1 does not define"),
        ("Value Encoding: \\t is undefined", &[V1_2], br"SEND|a:\t||.", "Malformed: header \"a\" has the escape \"\\t\", which STOMP 1.2 does not define"),
        ("1.1, Value Encoding: \\r is undefined", &[V1_1], br"SEND|a:\r||.", "Malformed: header \"a\" has the escape \"\\r\", which STOMP 1.1 does not define"),
        ("Value Encoding: a backslash at the end", &[V1_2], br"SEND|a:\||.", "Malformed: header \"a\" has the escape \"\\\", which STOMP 1.2 does not define"),
        ("Value Encoding: in a name", &[V1_2], br"SEND|a\x:1||.", "Malformed: header \"a\\\\x\" has the escape \"\\x\", which STOMP 1.2 does not define"),
        ("side taken: a secret is not quoted", &[V1_2], br"SEND|Authorization:\S||.", "Malformed: header \"Authorization\" has the escape \"***\", which STOMP 1.2 does not define"),
        ("Body: only SEND", &ESCAPING, b"ACK\n\nx\0", "Malformed: ACK must not have a body"),
        ("Body: only SEND, counted", &ESCAPING, b"SUBSCRIBE\ncontent-length:1\n\n", "Malformed: SUBSCRIBE must not have a body"),
        ("Header content-length: not a number", &ALL, b"SEND\ncontent-length:1x\n\na\0", "Malformed: content-length \"1x\" is not a decimal number"),
        ("Header content-length: empty", &ALL, b"SEND\ncontent-length:\n\na\0", "Malformed: content-length \"\" is not a decimal number"),
        ("Header content-length: negative", &ALL, b"SEND\ncontent-length:-1\n\na\0", "Malformed: content-length \"-1\" is not a decimal number"),
        ("Header content-length: signed", &ALL, b"SEND\ncontent-length:+1\n\na\0", "Malformed: content-length \"+1\" is not a decimal number"),
        ("Header content-length: padded", &ESCAPING, b"SEND\ncontent-length: 1\n\na\0", "Malformed: content-length \" 1\" is not a decimal number"),
        ("Header content-length: NUL must follow", &ALL, b"SEND\ncontent-length:1\n\nab\0", "Malformed: no NUL follows the 1 octets of the body that content-length says"),
        ("Size Limits: a body", &ALL, b"SEND\n\n012345678901234567890", "Limit: the body is over the limit of 20 octets"),
        ("Size Limits: a declared body, before it comes", &ALL, b"SEND\ncontent-length:2000000000\n\n", "Limit: content-length 2000000000 is over the limit of 20 octets for a body"),
        ("Size Limits: a declared body beyond any number", &ALL, b"SEND\ncontent-length:99999999999999999999999\n\n", "Limit: content-length 99999999999999999999999 is over the limit of 20 octets for a body"),
        ("Size Limits: headers", &ALL, b"SEND\na:1\na:2\na:3\na:4\na:5\n", "Limit: the frame has more than the limit of 4 headers"),
        ("Size Limits: a line, before it ends", &ALL, b"SEND\na:234567890123456789012345678901234567890", "Limit: header line 1 is over the limit of 40 octets"),
        ("Size Limits: a line whose CR is none", &ALL, b"SEND\na:23456789012345678901234567890123456789\rx", "Limit: header line 1 is over the limit of 40 octets"),
    ];
    for (rule, versions, bytes, expected) in table {
        for version in *versions {
            let bytes = [wire(bytes).as_slice(), b"SEND\n\nbehind\0"].concat();
            assert_eq!(
                read(*version, &bytes),
                [*expected],
                "{rule}, in {version}; and nothing behind it is processed"
            );
        }
    }
}

/// Rows about backslashes are easier to read raw: there, `|` is an LF and a final `.` the NUL.
fn wire(row: &[u8]) -> Vec<u8> {
    match row.strip_suffix(b"||.") {
        None => row.to_vec(),
        Some(raw) => {
            let lines = raw.iter().map(|octet| if *octet == b'|' { b'\n' } else { *octet });
            lines.chain(*b"\n\n\0").collect()
        }
    }
}

/// Repeated Header Entries: "only the first header entry SHOULD be used as the value".
#[test]
fn the_first_of_repeated_headers_is_the_value() {
    let headers: Headers = [("foo", "World"), ("foo", "Hello"), ("Foo", "other")]
        .into_iter()
        .collect();
    assert_eq!(headers.get("foo"), Some("World"));
    assert_eq!(headers.get("FOO"), None);
    assert_eq!(headers.len(), 3);
}

/// Protocol Negotiation: "the highest protocol version that both the client and server have in common".
#[test]
fn the_highest_common_version_is_negotiated() {
    let table = [
        (None, Some(V1_0)),
        (Some("1.0"), Some(V1_0)),
        (Some("1.0,1.1,2.0"), Some(V1_1)),
        (Some("1.0,1.1,1.2"), Some(V1_2)),
        (Some("1.2,1.1,1.0"), Some(V1_2)),
        (Some("1.1, 1.2"), Some(V1_2)),
        (Some("2.0"), None),
        (Some("1"), None),
        (Some("11.2"), None),
        (Some(""), None),
    ];
    for (accept_version, expected) in table {
        assert_eq!(Version::negotiate(accept_version), expected, "{accept_version:?}");
    }
    assert_eq!(Version::SUPPORTED, ALL.map(Version::as_str).join(","));
}

#[test]
fn the_highest_offered_subprotocol_is_taken() {
    let best = |offered: &[&'static str]| Version::best_subprotocol(offered.iter().copied());
    assert_eq!(best(&["v10.stomp", "v12.stomp", "v11.stomp"]), Some("v12.stomp"));
    assert_eq!(best(&["v10.stomp, v11.stomp", "chat"]), Some("v11.stomp"));
    assert_eq!(best(&["chat", "v13.stomp", "V12.STOMP"]), None);
    assert_eq!(best(&[]), None);
}

/// Value Encoding: CONNECT is read before there is a version, and what stands behind it in the same chunk after.
#[test]
fn the_version_holds_from_the_frame_behind_connect() {
    let mut parser = Parser::new(LIMITS);
    parser.feed(b"CONNECT\na:\\c\n\n\0SEND\na:\\c\n\n\0".as_slice().into());
    let connect = parser.next().unwrap().unwrap();
    parser.set_version(V1_2);
    let send = parser.next().unwrap().unwrap();
    assert_eq!(
        (shown(&connect).as_str(), shown(&send).as_str()),
        ("CONNECT a=\\c", "SEND a=:")
    );
    assert_eq!(
        read_by(Parser::new(LIMITS), b"SEND\na:\\t\n\n\0"),
        ["SEND a=\\t"],
        "no version, no escapes"
    );
}

/// ERROR: "if the frame included a receipt header, the ERROR frame SHOULD set the receipt-id header".
#[test]
fn an_error_knows_the_receipt_that_stood_before_it() {
    let table: &[(&[u8], Option<&str>)] = &[
        (b"SEND\nreceipt:a\\cb\nreceipt:2\nbad\n", Some("a:b")),
        (b"SEND\nreceipt:1\ncontent-length:x\n\n", Some("1")),
        (b"SEND\nreceipt:1\n\n012345678901234567890", Some("1")),
        (b"SEND\ncontent-length:1\nreceipt:1\n\nab", Some("1")),
        (b"ACK\nreceipt:1\n\nx", Some("1")),
        (b"SEND\nbad\nreceipt:1\n\n\0", None),
        (b"FOO\nreceipt:1\n\n\0", None),
        (b"SEND\nreceipt:1\n\n\0SEND\nbad\n", None),
    ];
    for (bytes, expected) in table {
        let mut parser = Parser::new(LIMITS);
        parser.set_version(V1_2);
        assert_eq!(
            error_of(&mut parser, bytes).receipt(),
            *expected,
            "{}",
            bytes.escape_ascii()
        );
    }
}

#[test]
fn after_an_error_the_parser_takes_nothing_more() {
    let mut parser = Parser::new(LIMITS);
    assert_eq!(error_of(&mut parser, b"FOO\n").kind(), Kind::Malformed);
    let behind = Bytes::from(b"\nSEND\n\n\0".to_vec());
    parser.feed(behind.clone());
    assert!(behind.is_unique(), "not even kept");
    assert_eq!((parser.next(), parser.next()), (Ok(None), Ok(None)));
}

/// Size Limits, as the contract asks: refused without being held.
#[test]
fn a_flood_is_refused_at_its_limit() {
    let limits = Limits::default();
    let flood = |head: &[u8], drop: &[u8]| {
        let mut parser = Parser::new(limits);
        parser.feed(head.to_vec().into());
        for fed in 0.. {
            parser.feed(drop.to_vec().into());
            if let Err(error) = parser.next() {
                return (fed, error.to_string());
            }
        }
        unreachable!()
    };
    let line = flood(b"SEND\n", b"x");
    assert_eq!(
        line,
        (8192, "header line 1 is over the limit of 8192 octets".to_owned())
    );
    let headers = flood(b"SEND\n", b"a:1\n");
    assert_eq!(
        headers,
        (64, "the frame has more than the limit of 64 headers".to_owned())
    );
    let body = flood(b"SEND\n\n", b"x");
    assert_eq!(body, (65536, "the body is over the limit of 65536 octets".to_owned()));
}

/// Frames are logged; tokens are not.
#[test]
fn debug_output_hides_credentials() {
    let headers: Headers = [("Authorization", "hunter2"), ("PASSCODE", "hunter2"), ("host", "here")]
        .into_iter()
        .collect();
    let shown = format!(
        "{:?}",
        Frame {
            command: Command::Connect,
            headers,
            body: Default::default()
        }
    );
    assert!(shown.contains("here") && !shown.contains("hunter2"), "{shown}");

    let mut parser = Parser::new(LIMITS);
    parser.feed(b"CONNECT\npasscode:hunter2".as_slice().into());
    assert!(!format!("{parser:?}").contains("hunter2"));
    parser.next().unwrap();
    assert!(!format!("{parser:?}").contains("hunter2"));
}

/// Value Encoding, the other way: what each version writes.
#[test]
fn headers_are_written_as_the_version_can_say_them() {
    let value = "a:b\\c\nd\re\0f";
    #[rustfmt::skip]
    let table = [
        (V1_0, ServerCommand::Message, "MESSAGE\nk y:a:b\\c d e f\n\n\0"),
        (V1_1, ServerCommand::Message, "MESSAGE\nk\\cy:a\\cb\\\\c\\nd e f\n\n\0"),
        (V1_2, ServerCommand::Message, "MESSAGE\nk\\cy:a\\cb\\\\c\\nd\\re f\n\n\0"),
        (V1_0, ServerCommand::Connected, "CONNECTED\nk y:a:b\\c d e f\n\n\0"),
        (V1_2, ServerCommand::Connected, "CONNECTED\nk y:a:b\\c d e f\n\n\0"),
    ];
    for (version, command, expected) in table {
        assert_eq!(
            FrameWriter::new(version, command).header("k:y", value).end(),
            expected,
            "{version}"
        );
    }
    let connect = Frame {
        command: Command::Connect,
        headers: [("k:y", value)].into_iter().collect(),
        body: Default::default(),
    };
    assert_eq!(encode(&connect, V1_2), "CONNECT\nk y:a:b\\c d e f\n\n\0");
}

/// Header content-length: counted in octets, by the writer alone.
#[test]
fn the_writer_counts_the_body_itself() {
    let message = || {
        FrameWriter::new(V1_2, ServerCommand::Message)
            .header("content-length", "999")
            .header("", "x")
    };
    assert_eq!(message().body("ä\0".as_bytes()), "MESSAGE\ncontent-length:3\n\nä\0\0");
    assert_eq!(message().body(b""), "MESSAGE\n\n\0");
    assert_eq!(message().end(), "MESSAGE\n\n\0");
}

/// Server Frames, as our own client reads them.
#[test]
fn a_client_reads_a_servers_frames() {
    let mut parser = Parser::of_server(LIMITS);
    parser.feed("CONNECTED\nversion:1.2\nx:\\c\n\n\0".into());
    let Ok(Some(Event::Frame(connected))) = parser.next() else {
        panic!()
    };
    assert_eq!(
        (connected.command, connected.headers.get("x")),
        (ServerCommand::Connected, Some("\\c"))
    );
    parser.set_version(V1_2);
    parser.feed("ERROR\nx:\\c\n\nwhy\0\nSEND\n\n\0".into());
    let Ok(Some(Event::Frame(error))) = parser.next() else {
        panic!()
    };
    assert_eq!(
        (error.command, error.headers.get("x"), &error.body[..]),
        (ServerCommand::Error, Some(":"), &b"why"[..])
    );
    assert_eq!(parser.next(), Ok(Some(Event::HeartBeat)));
    assert_eq!(parser.next().unwrap_err().to_string(), "unknown command \"SEND\"");
}
