//! Streamed text: whole characters, nothing lost, stop strings cut off.

mod support;

use safevlm_text::{TextStream, TextTokenizer};
use support::tokenizer;

/// Pieces of `ids`, the last one from `finish`.
fn pieces(tokenizer: &TextTokenizer, ids: &[u32], stop: &[String]) -> (Vec<String>, bool) {
    let mut stream = TextStream::new(tokenizer, stop);
    let mut pieces = vec![];
    for id in ids {
        let piece = stream.push(*id).unwrap();
        pieces.push(piece.text);
        if piece.stopped {
            return (pieces, true);
        }
    }
    let last = stream.finish().unwrap();
    pieces.push(last.text);
    assert_eq!(pieces.concat(), stream.text());
    (pieces, last.stopped)
}

/// Every order of `items`.
fn orders(items: &[&str]) -> Vec<String> {
    if items.is_empty() {
        return vec![String::new()];
    }
    let first = |nth: usize| {
        let mut rest = items.to_vec();
        let head = rest.remove(nth);
        orders(&rest).into_iter().map(move |tail| format!("{head}{tail}"))
    };
    (0..items.len()).flat_map(first).collect()
}

#[test]
fn no_order_of_characters_is_ever_split() {
    let tokenizer = tokenizer();
    // `é漢` and the emoji have tokens that end inside a character.
    for text in orders(&["é", "漢", "😀", "a ", "👩‍🚀", "\n"]) {
        let ids = tokenizer.encode(&text).unwrap();
        assert_eq!(tokenizer.decode(&ids).unwrap(), text);
        let (pieces, stopped) = pieces(&tokenizer, &ids, &[]);
        assert_eq!(pieces.concat(), text);
        assert!(!stopped);
        assert!(pieces.iter().all(|piece| !piece.contains('\u{fffd}')), "{pieces:?}");
    }
}

#[test]
fn text_comes_as_soon_as_its_character_is_whole() {
    let tokenizer = tokenizer();
    let ids = tokenizer.encode("aé漢b").unwrap();
    // a, C3, A9+E6, BC, A2, b: the second token of é begins 漢 too, and waits for it.
    assert_eq!(pieces(&tokenizer, &ids, &[]).0, ["a", "", "", "", "é漢", "b", ""]);
}

#[test]
fn ids_in_any_order_lose_nothing() {
    let tokenizer = tokenizer();
    let vocab = tokenizer.vocab_size() as u32;
    let mut state = 1u32;
    for round in 0..300 {
        let ids: Vec<u32> = (0..40)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // Half of the bytes are those of broken characters, some tokens are special.
                (state >> 8) % vocab
            })
            .collect();
        let whole = tokenizer.decode(&ids).unwrap();
        assert_eq!(pieces(&tokenizer, &ids, &[]).0.concat(), whole, "round {round}: {ids:?}");
    }
    // Three stray bytes before the first byte of an emoji.
    let byte = |b: u32| tokenizer.id(&char::from_u32(b).unwrap().to_string()).unwrap();
    let mut ids = vec![byte(0xe6), byte(0xe6), byte(0xe6)];
    ids.extend(tokenizer.encode("😀 and what follows").unwrap());
    assert_eq!(pieces(&tokenizer, &ids, &[]).0.concat(), "\u{fffd}\u{fffd}\u{fffd}😀 and what follows");
}

#[test]
fn stop_strings_are_cut_across_token_borders() {
    let tokenizer = tokenizer();
    let stop = ["STOP".to_owned(), "\n\n".to_owned()];
    for (text, expected, stopped) in [
        ("to here STOP and no further", "to here ", true),
        ("STOP", "", true),
        ("two\n\nlines STOP", "two", true),
        ("a STORY, no SSTOO", "a STORY, no SSTOO", false),
        ("SSTOP", "S", true),
        ("ends with ST", "ends with ST", false),
        ("one\nline\n", "one\nline\n", false),
    ] {
        let ids = tokenizer.encode(text).unwrap();
        let (pieces, reached) = pieces(&tokenizer, &ids, &stop);
        assert_eq!((pieces.concat().as_str(), reached), (expected, stopped), "{text:?}: {pieces:?}");
    }
}

#[test]
fn the_beginning_of_a_stop_string_is_held_back() {
    let tokenizer = tokenizer();
    let stop = ["STOP".to_owned()];
    let mut stream = TextStream::new(&tokenizer, &stop);
    let mut push = |token: &str| stream.push(tokenizer.encode(token).unwrap()[0]).unwrap().text;
    assert_eq!([push("x"), push("ST"), push("O")], ["x", "", ""]);
    assert_eq!(push("R"), "STOR");
    assert_eq!(push("S"), "");
    assert_eq!(stream.finish().unwrap().text, "S");
}

#[test]
fn an_empty_stop_string_stops_nothing() {
    let tokenizer = tokenizer();
    let ids = tokenizer.encode("all of it").unwrap();
    let (pieces, stopped) = pieces(&tokenizer, &ids, &[String::new()]);
    assert_eq!((pieces.concat().as_str(), stopped), ("all of it", false));
}
