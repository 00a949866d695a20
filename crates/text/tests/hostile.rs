//! Templates that try to use up memory, time or the stack.

mod support;

use safevlm_core::Conversation;
use safevlm_text::{ChatTemplate, TextError};
use support::tokenizer;

/// What becomes of a template.
fn outcome(text: &str) -> Result<String, TextError> {
    let template = ChatTemplate::new(text.to_owned(), String::new(), String::new())?;
    template.render(&Conversation::new().user("hello", []), "", &tokenizer())
}

fn refused(text: &str, why: &str) {
    match outcome(text) {
        Err(error) => assert!(error.to_string().contains(why), "{text:.200}: {error}"),
        Ok(prompt) => panic!("{text:.200}: {} bytes", prompt.len()),
    }
}

const TOO_MUCH: &str = "far more text than the conversation";

#[test]
fn doubling_sixty_times_is_stopped() {
    let steps = |step: &str| format!("{{% set a = 'aaaaaaaa' %}}{}{{{{ a | length }}}}", step.repeat(60));
    for step in [
        "{% set a = a ~ a %}",
        "{% set a = a + a %}",
        "{% set a = a * 2 %}",
        "{% set a %}{{ a }}{{ a }}{% endset %}",
        "{% set a = [a, a] | join %}",
        "{% set a = a | replace('a', 'aa') %}",
        "{% set a = a.replace('a', 'aa') %}",
        "{% set a = '' .join([a, a]) %}",
        "{% set a = a[:] ~ a %}",
        "{% set a = [a, a] %}",
        "{% set a = [a] + [a] %}{% set a = a | string %}",
        "{% set a = {'b': a, 'c': a} | tojson %}",
        "{% set a = {'b': a, 'c': a} %}",
        "{% set a = (a, a) | map('string') | join %}",
        "{% macro m(x) %}{{ x }}{{ x }}{% endmacro %}{% set a = m(a) %}",
        "{% set a = (a | indent(60, true)).replace(' ', a) %}",
        "{% set a = a | list | join(a) %}",
        "{% set a = dict(b=a, c=a) | string %}",
    ] {
        refused(&steps(step), TOO_MUCH);
    }
    let loops =
        |step: &str| format!("{{% set n = namespace(a='aaaaaaaa') %}}{{% for _ in range(60) %}}{step}{{% endfor %}}");
    refused(&loops("{% set n.a = n.a ~ n.a %}"), TOO_MUCH);
    refused(&loops("{% set n.a = [n.a, n.a] %}"), TOO_MUCH);
    refused(&loops("{% set n.a = namespace(b=n.a, c=n.a) %}"), TOO_MUCH);
}

#[test]
fn one_step_cannot_ask_for_much() {
    refused("{{ 'a' * 100000000 }}", TOO_MUCH);
    refused("{{ ('a' * 20000000) | replace('a', 'bb') }}", TOO_MUCH);
    refused("{{ range(99999) | join('a' * 9999) }}", TOO_MUCH);
    refused("{{ '\n' | indent(9999999999) }}", "indents too far");
    refused("{{ [1] | tojson(indent=9999999999) }}", "indents too far");
    refused("{{ '%99999999d' | format(1) }}", "unknown filter");
    refused("{{ '{:99999999}'.format(1) }}", "not supported");
    refused("{{ [1] | batch(99999999, 'x') | list }}", "unknown filter");
    let raw = format!("{{% for a in range(9999) %}}{}{{% endfor %}}", "x".repeat(100_000));
    refused(&raw, TOO_MUCH);
    let captured = format!("{{% set b %}}{raw}{{% endset %}}");
    refused(&captured, TOO_MUCH);
    refused("{% set a = 'a' * 9999999 %}{% for b in range(999) %}{% if 'b' in a %}{% endif %}{% endfor %}", TOO_MUCH);
    refused(
        "{% set a = 'a' * 9999999 %}{% for b in range(999) %}{% if a[-1] == 'b' %}{% endif %}{% endfor %}",
        TOO_MUCH,
    );
}

#[test]
fn nesting_cannot_overflow_the_stack() {
    let deep = "{% set n = namespace(a=1) %}{% for _ in range(99999) %}{% set n.a = [n.a] %}{% endfor %}";
    refused(deep, "too deeply");
    let chain = "{% set n = namespace(a=1) %}{% for _ in range(99999) %}{% set m = namespace() %}{% set m.a = n.a %}\
        {% set n.a = m %}{% endfor %}";
    refused(chain, "too deeply");
    refused("{% set n = namespace() %}{% set n.a = n %}{{ n }}", "too deeply");
    refused("{% set n = namespace() %}{% set n.a = n %}{{ n | tojson }}", "too deeply");
    refused(&format!("{{{{ 1{} }}}}", " + 1".repeat(50_000)), "longer than in any real");
    refused(&format!("{{{{ 'a'{} }}}}", " | upper".repeat(50_000)), "longer than in any real");
    refused(&format!("{{{{ {}1 }}}}", "(".repeat(500)), "recursion");
    let elifs = format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(5_000));
    refused(&elifs, "more branches");
    refused(&"{% if 1 %}".repeat(5_000), "recursion");
    // What just fits neither parser, compiler nor printing overflows.
    assert_eq!(outcome(&format!("{{{{ 1{} }}}}", " + 1".repeat(290))).unwrap(), "291");
    let elifs = format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(190));
    assert_eq!(outcome(&elifs).unwrap(), "");
}

#[test]
fn no_template_reaches_the_meter() {
    for text in [
        "{{ (charge) }}",
        "{% set charge = 1 %}{% set a = 'a' * 99999999 %}",
        "{{ self['(charge)'] ~ 'a' * 99999999 }}",
    ] {
        assert!(outcome(text).is_err() || outcome(text).unwrap().len() < 100, "{text}");
    }
}

#[test]
fn long_conversations_are_no_attack() {
    let mut conversation = Conversation::new();
    for nth in 0..200 {
        conversation =
            conversation.user(format!("{nth} {}", "word ".repeat(1_000)), []).assistant("yes ".repeat(1_000));
    }
    for published in safevlm_text::PublishedTemplate::ALL {
        let prompt =
            published.template().unwrap().render(&conversation, published.placeholder(), &tokenizer()).unwrap();
        assert!(prompt.len() > 1_800_000);
    }
    // Templates that gather the conversation in a string copy it once for every message.
    let gathering =
        "{% set n = namespace(a='') %}{% for m in messages %}{% set n.a = n.a ~ m.content %}{% endfor %}{{ n.a }}";
    let template = ChatTemplate::new(gathering.to_owned(), String::new(), String::new()).unwrap();
    let short = Conversation { messages: conversation.messages[..30].to_vec(), images: vec![] };
    assert!(template.render(&short, "", &tokenizer()).unwrap().len() > 130_000);
}
