//! Any text arrives as it was sent, whatever browsers do to it on the way.

use proptest::prelude::*;
use quick_notify::sockjs::message::{Unreadable, decode, decode_frame};
use quick_notify::sockjs::{BadCallback, Callback, Format, frame};

use super::*;

/// What a server must not send as it is: browsers have been seen to change it.
fn is_listed(letter: char) -> bool {
    matches!(u32::from(letter), 0..=0x1f | 0x200c..=0x200f | 0x2028..=0x202f | 0x2060..=0x206f | 0xfff0..=0xffff)
}

fn formats() -> [Format; 4] {
    let callback = |name| Callback::parse(Some(name)).expect("a name");
    [
        Format::Lines,
        Format::Events,
        Format::Scripts(callback("c")),
        Format::Call(callback("c")),
    ]
}

#[test]
fn every_listed_letter_and_every_pair_is_escaped_and_comes_back() {
    for letter in (0..=0x10_ffff).filter_map(char::from_u32) {
        let text = letter.to_string();
        let frame = frame::messages([&*text]);
        let inner = frame.strip_prefix("a[\"").and_then(|rest| rest.strip_suffix("\"]"));
        let inner = inner.unwrap_or_else(|| panic!("{frame}"));
        if is_listed(letter) || letter.len_utf16() == 2 || matches!(letter, '"' | '\\') {
            assert!(
                inner.starts_with('\\') && inner.is_ascii(),
                "U+{:04X}: {frame}",
                u32::from(letter)
            );
        } else {
            assert_eq!(inner, text);
        }
        assert_eq!(serde_json::from_str::<Vec<String>>(&frame[1..]).expect("JSON"), [text]);
    }
}

proptest! {
    #[test]
    fn any_texts_come_back(texts in prop::collection::vec(any::<String>(), 0..8)) {
        let frame = frame::messages(texts.iter().map(String::as_str));
        prop_assert!(frame.starts_with("a["));
        prop_assert_eq!(serde_json::from_str::<Vec<String>>(&frame[1..]).unwrap(), texts.clone());
        // And through this server's own reader, however the client escapes.
        prop_assert_eq!(decode(&frame.as_bytes()[1..]).unwrap(), texts.clone());
        let plain = serde_json::to_vec(&texts).unwrap();
        prop_assert_eq!(decode(&plain).unwrap(), texts.clone());
        prop_assert_eq!(decode_frame(&plain).unwrap(), texts);
    }

    #[test]
    fn a_close_frame_comes_back(code in any::<u16>(), reason in any::<String>()) {
        let frame = frame::close(code, &reason);
        let (said, why): (u16, String) = serde_json::from_str(frame.strip_prefix('c').unwrap()).unwrap();
        prop_assert_eq!((said, why), (code, reason));
    }

    /// However it is wrapped, a frame is what it was, and breaks out of nothing.
    #[test]
    fn a_wrapped_frame_comes_back(text in any::<String>(), markup in "(<!--|</?script>|]]>|<|&|--|\r|\n|\u{2028}|x){0,9}") {
        let frame = frame::messages([&*text, &*markup]);
        for format in formats() {
            let wrapped = format.wrap(&frame);
            let (begin, end) = match &format {
                Format::Lines => ("", "\n"),
                Format::Events => ("data: ", "\r\n\r\n"),
                Format::Scripts(_) => ("<script>\np(", ");\n</script>\r\n"),
                Format::Call(_) => ("/**/c(", ");\r\n"),
            };
            let inner = wrapped.strip_prefix(begin).and_then(|rest| rest.strip_suffix(end)).unwrap();
            prop_assert!(!inner.contains(['\r', '\n', '\0', '\u{2028}', '\u{2029}']), "{}", inner);
            match format {
                Format::Lines | Format::Events => prop_assert_eq!(inner, &*frame),
                Format::Scripts(_) | Format::Call(_) => {
                    prop_assert!(!inner.contains('<'), "{}", inner);
                    prop_assert_eq!(serde_json::from_str::<String>(inner).unwrap(), frame.clone());
                }
            }
        }
    }

    /// No end of input, and nothing in it, makes a reader of bytes panic or make something up.
    #[test]
    fn what_is_cut_off_is_broken(texts in prop::collection::vec(any::<String>(), 1..4), cut in any::<prop::sample::Index>()) {
        let whole = serde_json::to_vec(&texts).unwrap();
        let cut = cut.index(whole.len());
        let expected = if cut == 0 { Unreadable::Empty } else { Unreadable::Broken };
        prop_assert_eq!(decode(&whole[..cut]), Err(expected));
    }

    #[test]
    fn bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = decode(&bytes);
        let _ = decode_frame(&bytes);
    }

    #[test]
    fn a_callback_is_a_name(name in any::<String>()) {
        let is_name = name.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter));
        let expected = match (name.is_empty(), is_name && name.len() <= 64) {
            (true, _) => Err(BadCallback::Missing),
            (_, true) => Ok(()),
            (_, false) => Err(BadCallback::Invalid),
        };
        prop_assert_eq!(Callback::parse(Some(&name)).map(|_| ()), expected);
    }

    #[test]
    fn a_name_is_a_callback(name in "[A-Za-z0-9_.-]{1,64}") {
        prop_assert!(Callback::parse(Some(&name)).is_ok());
    }
}

/// JavaScript's strings may hold half a pair; ours may not.
#[test]
fn half_a_pair_becomes_the_replacement_character() {
    let table: [(&[u8], &[&str]); 8] = [
        (br#"["\ud83d"]"#, &["\u{fffd}"]),
        (br#"["a\ude00b"]"#, &["a\u{fffd}b"]),
        (br#"["\ud83d\ude00"]"#, &["\u{1f600}"]),
        (br#"["\ude00\ud83d"]"#, &["\u{fffd}\u{fffd}"]),
        (br#"["\ud83dx","y"]"#, &["\u{fffd}x", "y"]),
        (br#"["\ud83d\ud83d\ude00"]"#, &["\u{fffd}\u{1f600}"]),
        (b"[\"\xff\"]", &["\u{fffd}"]),
        (b" [ \"x\" , \"y\" ] ", &["x", "y"]),
    ];
    for (body, expected) in table {
        let decoded = decode(body).unwrap_or_else(|error| panic!("{}: {error}", String::from_utf8_lossy(body)));
        assert_eq!(decoded, expected, "{}", String::from_utf8_lossy(body));
    }
}

/// All listed letters at once, through the server: escaped on the way out.
#[tokio::test]
async fn listed_letters_go_through_the_server() {
    let server = Server::start().await;
    let session = open(&server, ECHO).await;
    let all: String = (0x20..=0xffff)
        .filter_map(char::from_u32)
        .chain("\u{1f600}\u{10ffff}".chars())
        .collect();
    let body = serde_json::to_string(&[&all]).expect("JSON");
    send(&server, &session, &body).await;
    let got = poll(&server, &session).await;
    let frame = got.trim_end_matches('\n');
    assert!(!frame.chars().any(is_listed), "a listed letter went out as it is");
    assert_eq!(serde_json::from_str::<Vec<String>>(&frame[1..]).expect("JSON"), [all]);
}
