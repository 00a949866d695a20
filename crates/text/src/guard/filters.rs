//! The filters, tests, functions and methods that a template finds.

use std::sync::Arc;

use minijinja::value::{Kwargs, Rest, Value};
use minijinja::{Environment, Error, ErrorKind, filters, functions, tests};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::budget::Budget;
use super::rewrite::{CHARGE, CHARGE_TEXT};
use crate::json;

/// Widest indentation a template may ask for.
const INDENT_LIMIT: usize = 64;

/// Everything that transformers' templates use and whose result cannot outgrow its arguments by much.
/// Left out are `format`, `batch`, `slice` and `pprint`, whose results can.
pub(super) fn install(environment: &mut Environment<'_>, budget: &Arc<Budget>) {
    let meter = budget.clone();
    environment.add_function(CHARGE, move |value: Value| meter.charge(&value).map(|()| value));
    let meter = budget.clone();
    environment.add_function(CHARGE_TEXT, move |value: Value| match value.as_str() {
        Some(text) => meter.charge_bytes(text.len()).map(|()| value),
        None => Ok(value),
    });
    environment.add_function("range", functions::range);
    environment.add_function("dict", functions::dict);
    environment.add_function("namespace", functions::namespace);
    add_filters(environment, budget);
    add_tests(environment);
    let meter = budget.clone();
    environment.set_unknown_method_callback(move |state, value, method, args| {
        let text = |nth: usize| args.get(nth).and_then(Value::as_str).unwrap_or_default();
        match method {
            "format" => return Err(unknown("str.format is not supported")),
            "replace" => charge_replace(&meter, value.as_str().unwrap_or_default(), text(0), text(1))?,
            "join" => charge_join(&meter, args.first(), value.as_str().unwrap_or_default())?,
            _ => {}
        }
        unknown_method_callback(state, value, method, args)
    });
}

fn unknown(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

/// The length of a replacement's result, before it is made.
fn charge_replace(budget: &Budget, text: &str, from: &str, to: &str) -> Result<(), Error> {
    budget.charge_bytes(text.len())?;
    let found = if from.is_empty() { text.len() + 1 } else { text.matches(from).count() };
    budget.charge_bytes(found.saturating_mul(to.len()))
}

/// The separators of a joined list; its items are charged as the argument that they are.
fn charge_join(budget: &Budget, items: Option<&Value>, separator: &str) -> Result<(), Error> {
    let count = items.map_or(0, |items| items.len().unwrap_or_else(|| items.try_iter().map_or(0, Iterator::count)));
    budget.charge_bytes(count.saturating_mul(separator.len()))
}

fn add_filters(environment: &mut Environment<'_>, budget: &Arc<Budget>) {
    environment.add_filter("safe", filters::safe);
    environment.add_filter("lower", filters::lower);
    environment.add_filter("upper", filters::upper);
    environment.add_filter("title", filters::title);
    environment.add_filter("capitalize", filters::capitalize);
    environment.add_filter("length", filters::length);
    environment.add_filter("count", filters::length);
    environment.add_filter("dictsort", filters::dictsort);
    environment.add_filter("items", filters::items);
    environment.add_filter("reverse", filters::reverse);
    environment.add_filter("trim", filters::trim);
    environment.add_filter("split", filters::split);
    environment.add_filter("lines", filters::lines);
    environment.add_filter("default", filters::default);
    environment.add_filter("d", filters::default);
    environment.add_filter("round", filters::round);
    environment.add_filter("abs", filters::abs);
    environment.add_filter("int", filters::int);
    environment.add_filter("float", filters::float);
    environment.add_filter("attr", filters::attr);
    environment.add_filter("first", filters::first);
    environment.add_filter("last", filters::last);
    environment.add_filter("min", filters::min);
    environment.add_filter("max", filters::max);
    environment.add_filter("sort", filters::sort);
    environment.add_filter("list", filters::list);
    environment.add_filter("string", filters::string);
    environment.add_filter("bool", filters::bool);
    environment.add_filter("sum", filters::sum);
    environment.add_filter("select", filters::select);
    environment.add_filter("reject", filters::reject);
    environment.add_filter("selectattr", filters::selectattr);
    environment.add_filter("rejectattr", filters::rejectattr);
    environment.add_filter("map", filters::map);
    environment.add_filter("groupby", filters::groupby);
    environment.add_filter("unique", filters::unique);
    let meter = budget.clone();
    environment.add_filter("replace", move |text: String, from: String, to: String| -> Result<String, Error> {
        charge_replace(&meter, &text, &from, &to)?;
        Ok(text.replace(&from, &to))
    });
    let meter = budget.clone();
    let pristine = Environment::new();
    environment.add_filter("join", move |args: Rest<Value>| -> Result<Value, Error> {
        charge_join(&meter, args.first(), args.get(1).and_then(Value::as_str).unwrap_or_default())?;
        pristine.empty_state().apply_filter("join", &args)
    });
    let meter = budget.clone();
    let pristine = Environment::new();
    environment.add_filter("indent", move |args: Rest<Value>| -> Result<Value, Error> {
        let widths = args.iter().filter_map(|arg| match arg.is_kwargs() {
            true => arg.get_attr("width").ok().and_then(|width| width.as_usize()),
            false => arg.as_usize(),
        });
        let width = widths.max().unwrap_or(4);
        if width > INDENT_LIMIT {
            return Err(unknown("the template indents too far"));
        }
        let lines = args.first().and_then(Value::as_str).map_or(0, |text| text.matches('\n').count() + 1);
        meter.charge_bytes(lines.saturating_mul(width))?;
        pristine.empty_state().apply_filter("indent", &args)
    });
    let meter = budget.clone();
    environment.add_filter("tojson", move |value: Value, options: Kwargs| -> Result<String, Error> {
        let text = json::dumps(&value, &options, INDENT_LIMIT)?;
        meter.charge_bytes(text.len()).map(|()| text)
    });
}

fn add_tests(environment: &mut Environment<'_>) {
    environment.add_test("undefined", tests::is_undefined);
    environment.add_test("defined", tests::is_defined);
    environment.add_test("none", tests::is_none);
    environment.add_test("boolean", tests::is_boolean);
    environment.add_test("odd", tests::is_odd);
    environment.add_test("even", tests::is_even);
    environment.add_test("divisibleby", tests::is_divisibleby);
    environment.add_test("number", tests::is_number);
    environment.add_test("integer", tests::is_integer);
    environment.add_test("float", tests::is_float);
    environment.add_test("string", tests::is_string);
    environment.add_test("sequence", tests::is_sequence);
    environment.add_test("iterable", tests::is_iterable);
    environment.add_test("mapping", tests::is_mapping);
    environment.add_test("startingwith", tests::is_startingwith);
    environment.add_test("endingwith", tests::is_endingwith);
    environment.add_test("lower", tests::is_lower);
    environment.add_test("upper", tests::is_upper);
    environment.add_test("sameas", tests::is_sameas);
    for name in ["eq", "equalto", "=="] {
        environment.add_test(name, tests::is_eq);
    }
    for name in ["ne", "!="] {
        environment.add_test(name, tests::is_ne);
    }
    for name in ["lt", "lessthan", "<"] {
        environment.add_test(name, tests::is_lt);
    }
    for name in ["le", "<="] {
        environment.add_test(name, tests::is_le);
    }
    for name in ["gt", "greaterthan", ">"] {
        environment.add_test(name, tests::is_gt);
    }
    for name in ["ge", ">="] {
        environment.add_test(name, tests::is_ge);
    }
    environment.add_test("in", tests::is_in);
    environment.add_test("true", tests::is_true);
    environment.add_test("false", tests::is_false);
}
