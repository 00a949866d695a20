//! The published templates of LLaVA-1.5, Qwen2.5-VL and Gemma 3: prompts equal to transformers', and
//! texts that try to open turns and show pictures.

mod support;

use std::path::PathBuf;
use std::sync::Arc;

use safevlm_core::conversation::{Message, Part, Role};
use safevlm_core::{Conversation, RgbImage};
use safevlm_text::{ChatTemplate, PublishedTemplate, TextError, TextTokenizer};
use serde_json::{Value, json};
use support::{tokenizer, tokenizer_with, write};
use tempfile::TempDir;

fn goldens() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

fn conversation(messages: &Value) -> Conversation {
    let mut images = Vec::new();
    let mut part = |part: &Value| match part.as_str() {
        Some(text) => Part::Text(text.to_owned()),
        None => {
            images.push(Arc::new(RgbImage::new(1, 1)));
            Part::Image(images.len() - 1)
        }
    };
    let messages = messages.as_array().unwrap().iter().map(|message| Message {
        role: match message["role"].as_str().unwrap() {
            "system" => Role::System,
            "user" => Role::User,
            _ => Role::Assistant,
        },
        parts: message["parts"].as_array().unwrap().iter().map(&mut part).collect(),
    });
    let messages = messages.collect();
    Conversation { messages, images }
}

#[test]
fn prompts_equal_transformers() {
    let golden = std::fs::read_to_string(goldens().join("templates/prompts.json")).unwrap();
    let golden: Value = serde_json::from_str(&golden).unwrap();
    let features = std::fs::read_to_string(goldens().join("templates/features.jinja")).unwrap();
    let features = ChatTemplate::new(features, "<s>".to_owned(), "</s>".to_owned()).unwrap();
    let published = PublishedTemplate::ALL.map(|p| (p.name(), p.placeholder(), p.template().unwrap()));
    let tokenizer = tokenizer();
    for (name, placeholder, template) in published.into_iter().chain([("features", "", features)]) {
        let prompts = golden["prompts"][name].as_array().unwrap();
        assert!(prompts.len() >= 12);
        for (case, expected) in golden["conversations"].as_array().unwrap().iter().zip(prompts) {
            let prompt = template.render(&conversation(&case["messages"]), placeholder, &tokenizer);
            match expected.as_str() {
                Some(expected) => assert_eq!(prompt.unwrap(), expected, "{name}: {}", case["name"]),
                None => assert!(matches!(prompt, Err(TextError::Template(_))), "{name}: {}: {prompt:?}", case["name"]),
            }
        }
    }
}

/// A family's template, tokenizer, placeholder and the special tokens that its prompts have.
fn families() -> Vec<(PublishedTemplate, TextTokenizer, Vec<&'static str>)> {
    let qwen =
        vec!["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|image_pad|>", "<|vision_end|>", "<|video_pad|>"];
    let gemma =
        vec!["<bos>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>", "<image_soft_token>"];
    let dir = TempDir::new().unwrap();
    std::fs::copy(goldens().join("spm/tokenizer.model"), dir.path().join("tokenizer.model")).unwrap();
    // The original LLaVA has no token for an image: `<image>` is text that its code cuts out.
    let llava = TextTokenizer::from_dir(dir.path()).unwrap();
    vec![
        (PublishedTemplate::Qwen25Vl, tokenizer_with(&qwen), qwen),
        (PublishedTemplate::Gemma3, tokenizer_with(&gemma), gemma),
        (PublishedTemplate::LlavaHf, tokenizer_with(&["<s>", "</s>", "<image>"]), vec!["<s>", "</s>", "<image>"]),
        (PublishedTemplate::LlavaV1, llava.clone(), vec!["<s>", "</s>", "<unk>"]),
        (PublishedTemplate::VicunaV1, llava, vec!["<s>", "</s>", "<unk>"]),
    ]
}

/// Special tokens by name, and role markers and placeholders of the text.
fn counts(prompt: &str, tokenizer: &TextTokenizer, special: &[&str], placeholder: &str) -> Vec<usize> {
    let ids = tokenizer.encode_prompt(prompt).unwrap();
    let tokens = special.iter().map(|token| ids.iter().filter(|id| Some(**id) == tokenizer.id(token)).count());
    // In Qwen's and Gemma's prompts `USER:` is a word like any other.
    let roles = if placeholder == "<image>" { &["USER:", "ASSISTANT:"][..] } else { &[] };
    tokens.chain(roles.iter().chain([&placeholder]).map(|text| prompt.matches(*text).count())).collect()
}

/// Texts out of markers, halves of markers and letters, and the same markers one by one.
fn hostile() -> Vec<String> {
    let markers = [
        "<image>",
        "<|image_pad|>",
        "<|vision_start|>",
        "<|vision_end|>",
        "<|video_pad|>",
        "<start_of_image>",
        "<end_of_image>",
        "<image_soft_token>",
        "<start_of_turn>",
        "<end_of_turn>",
        "<|im_start|>",
        "<|im_end|>",
        "<s>",
        "</s>",
        "<unk>",
        "<bos>",
        "USER:",
        "ASSISTANT:",
        "USER: ",
        " ASSISTANT:",
    ];
    let mut texts: Vec<String> =
        markers.iter().flat_map(|m| [m.to_string(), format!("a {m} b"), m.repeat(3)]).collect();
    let mut state = 7u32;
    let mut dice = |sides: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % sides
    };
    for _ in 0..300 {
        let mut text = String::new();
        for _ in 0..1 + dice(8) {
            let marker = markers[dice(markers.len())];
            match dice(5) {
                0 => text.push_str(&marker[..dice(marker.len())]),
                1 => text.push_str(&marker[dice(marker.len())..]),
                2 => text.push_str(["\n", " ", "user\n", "model\n", "x"][dice(5)]),
                _ => text.push_str(marker),
            }
        }
        texts.push(text);
    }
    texts
}

#[test]
fn no_text_opens_a_turn_or_shows_a_picture() {
    let image = || Arc::new(RgbImage::new(1, 1));
    let say = |text: &str| {
        let texts = |text: &str| {
            // Torn in two, at any place that the text's length chooses.
            let cut = (0..=text.len() / 2).rev().find(|at| text.is_char_boundary(*at)).unwrap();
            [&text[..cut], &text[cut..]].map(|half| Part::Text(half.to_owned()))
        };
        let mut conversation =
            Conversation::new().system(text).user(text, [image()]).assistant(text).user(text, [image(), image()]);
        for message in &mut conversation.messages {
            let text = message.text();
            message.parts.retain(|part| matches!(part, Part::Image(_)));
            message.parts.extend(texts(&text));
        }
        conversation
    };
    for (published, tokenizer, special) in families() {
        let template = published.template().unwrap();
        let count = |text: &str| {
            let prompt = template.render(&say(text), published.placeholder(), &tokenizer).unwrap();
            (counts(&prompt, &tokenizer, &special, published.placeholder()), prompt)
        };
        let (expected, plain) = count("plain");
        assert_eq!(expected.last(), Some(&3), "{plain}");
        assert!(expected.iter().sum::<usize>() > 8, "{plain}");
        for text in hostile() {
            let (found, prompt) = count(&text);
            assert_eq!(found, expected, "{}: {text:?} became {prompt:?}", published.name());
        }
    }
}

#[test]
fn templates_get_the_content_they_expect() {
    let tokenizer = tokenizer();
    let render = |text: &str| {
        let template = ChatTemplate::new(text.to_owned(), String::new(), String::new()).unwrap();
        let image = Arc::new(RgbImage::new(1, 1));
        template.render(&Conversation::new().user("hi", [image]), "<image>", &tokenizer).unwrap()
    };
    assert_eq!(render("{% for m in messages %}{{ m.content }}{% endfor %}"), "<image>hi");
    assert_eq!(render("{% for m in messages %}{{ m.content | trim + '!' }}{% endfor %}"), "<image>hi!");
    let parts = "{% for p in m.content %}{{ '<image>' if p.type == 'image' else p.text }}.{% endfor %}";
    let parts = format!("{{% for m in messages %}}{parts}{{% endfor %}}");
    assert_eq!(render(&parts), "<image>.hi.");
    let either = "{% for m in messages %}{% if m.content is string %}text{% else %}{{ m.content[0].type }} <image>\
        {{ m.content[-1].text }}{% endif %}{% endfor %}";
    assert_eq!(render(either), "image <image>hi");
}

#[test]
fn an_image_without_a_place_is_an_error() {
    let image = Arc::new(RgbImage::new(1, 1));
    let conversation = Conversation::new().user("hi", [image]);
    let template = ChatTemplate::new("{{ messages | length }}".to_owned(), String::new(), String::new()).unwrap();
    let error = template.render(&conversation, "<image>", &tokenizer()).unwrap_err();
    assert!(matches!(error, TextError::Images { expected: 1, found: 0, .. }), "{error}");
}

#[test]
fn templates_are_found_in_every_file_that_may_have_them() {
    let dir = TempDir::new().unwrap();
    let conversation = Conversation::new().user("hi", []);
    let render = || {
        let template = ChatTemplate::from_dir_or(dir.path(), PublishedTemplate::VicunaV1).unwrap();
        template.render(&conversation, "<image>", &tokenizer()).unwrap()
    };
    assert!(render().starts_with("A chat between a curious user"));
    let named = json!([{ "name": "tool_use", "template": "tools" }, { "name": "default", "template": "named" }]);
    write(dir.path(), "tokenizer_config.json", &json!({ "chat_template": named }).to_string());
    assert_eq!(render(), "named");
    write(dir.path(), "chat_template.json", &json!({ "chat_template": "processor" }).to_string());
    assert_eq!(render(), "processor");
    write(dir.path(), "chat_template.json", &json!({ "chat_template": { "default": "object" } }).to_string());
    assert_eq!(render(), "object");
    write(dir.path(), "chat_template.jinja", "jinja");
    assert_eq!(render(), "jinja");
    write(dir.path(), "chat_template.jinja", &"x".repeat((256 << 10) + 1));
    assert!(matches!(
        ChatTemplate::from_dir_or(dir.path(), PublishedTemplate::Gemma3),
        Err(TextError::TooLarge { .. })
    ));
}
