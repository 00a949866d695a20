//! A template's syntax tree with every costly operand measured.

use minijinja::machinery::Span;
use minijinja::machinery::ast::{self, BinOpKind, CallArg, Expr, Spanned, Stmt};
use minijinja::value::{Value, ValueKind};

/// The function that takes a value's size off the budget and returns the value. No template can name
/// or replace it: the name is no identifier.
pub(super) const CHARGE: &str = "(charge)";
/// The same for text alone; other values pass unmeasured.
pub(super) const CHARGE_TEXT: &str = "(charge text)";

/// Filters that look at their value without reading all of it.
const CHEAP_FILTERS: [&str; 7] = ["length", "count", "first", "last", "default", "d", "attr"];

fn call<'a>(function: &'static str, argument: Expr<'a>, span: Span) -> Expr<'a> {
    let expr = Expr::Var(Spanned::new(ast::Var { id: function }, span));
    Expr::Call(Spanned::new(ast::Call { expr, args: vec![CallArg::Pos(argument)] }, span))
}

/// `expr`, measured when it is evaluated.
fn charged<'a>(expr: Expr<'a>) -> Expr<'a> {
    match &expr {
        Expr::Const(number) if matches!(number.value.kind(), ValueKind::Number | ValueKind::Bool | ValueKind::None) => {
            expr
        }
        _ => {
            let span = expr.span();
            call(CHARGE, expr, span)
        }
    }
}

fn charged_text<'a>(expr: Expr<'a>) -> Expr<'a> {
    let span = expr.span();
    call(CHARGE_TEXT, expr, span)
}

fn constant<'a>(value: Value, span: Span) -> Expr<'a> {
    Expr::Const(Spanned::new(ast::Const { value }, span))
}

/// A copy of `stmt` in which every costly operand is measured.
pub(super) fn statement<'a>(stmt: &Stmt<'a>) -> Stmt<'a> {
    match stmt {
        Stmt::Template(s) => {
            Stmt::Template(Spanned::new(ast::Template { children: statements(&s.children) }, s.span()))
        }
        Stmt::EmitExpr(s) => emit(expression(&s.expr), s.span()),
        Stmt::EmitRaw(s) => emit(constant(Value::from(s.raw), s.span()), s.span()),
        Stmt::ForLoop(s) => {
            let node = ast::ForLoop {
                target: target(&s.target),
                iter: charged_text(expression(&s.iter)),
                filter_expr: s.filter_expr.as_ref().map(expression),
                recursive: s.recursive,
                body: statements(&s.body),
                else_body: statements(&s.else_body),
            };
            Stmt::ForLoop(Spanned::new(node, s.span()))
        }
        Stmt::IfCond(s) => {
            let (true_body, false_body) = (statements(&s.true_body), statements(&s.false_body));
            Stmt::IfCond(Spanned::new(ast::IfCond { expr: expression(&s.expr), true_body, false_body }, s.span()))
        }
        Stmt::WithBlock(s) => {
            let assignments = s.assignments.iter().map(|(name, value)| (target(name), expression(value))).collect();
            Stmt::WithBlock(Spanned::new(ast::WithBlock { assignments, body: statements(&s.body) }, s.span()))
        }
        Stmt::Set(s) => {
            let value = expression(&s.expr);
            // What goes into a namespace is measured, so that namespaces cannot nest without end.
            let expr = if matches!(s.target, Expr::GetAttr(_)) { charged(value) } else { value };
            Stmt::Set(Spanned::new(ast::Set { target: target(&s.target), expr }, s.span()))
        }
        Stmt::SetBlock(s) => {
            let filter = s.filter.as_ref().map(expression);
            Stmt::SetBlock(Spanned::new(
                ast::SetBlock { target: target(&s.target), filter, body: statements(&s.body) },
                s.span(),
            ))
        }
        Stmt::AutoEscape(s) => {
            let node = ast::AutoEscape { enabled: expression(&s.enabled), body: statements(&s.body) };
            Stmt::AutoEscape(Spanned::new(node, s.span()))
        }
        Stmt::FilterBlock(s) => {
            let node = ast::FilterBlock { filter: expression(&s.filter), body: statements(&s.body) };
            Stmt::FilterBlock(Spanned::new(node, s.span()))
        }
        Stmt::Block(s) => {
            let node = ast::Block { name: s.name, required: s.required, body: statements(&s.body) };
            Stmt::Block(Spanned::new(node, s.span()))
        }
        Stmt::Import(s) => {
            Stmt::Import(Spanned::new(ast::Import { expr: expression(&s.expr), name: target(&s.name) }, s.span()))
        }
        Stmt::FromImport(s) => {
            let names = s.names.iter().map(|(name, alias)| (target(name), alias.as_ref().map(target))).collect();
            Stmt::FromImport(Spanned::new(ast::FromImport { expr: expression(&s.expr), names }, s.span()))
        }
        Stmt::Extends(s) => Stmt::Extends(Spanned::new(ast::Extends { name: expression(&s.name) }, s.span())),
        Stmt::Include(s) => {
            let node = ast::Include { name: expression(&s.name), ignore_missing: s.ignore_missing };
            Stmt::Include(Spanned::new(node, s.span()))
        }
        Stmt::Macro(s) => Stmt::Macro(macro_declaration(s)),
        Stmt::CallBlock(s) => {
            let node = ast::CallBlock {
                call: Spanned::new(call_of(&s.call), s.call.span()),
                macro_decl: macro_declaration(&s.macro_decl),
            };
            Stmt::CallBlock(Spanned::new(node, s.span()))
        }
        Stmt::Continue(s) => Stmt::Continue(Spanned::new(ast::Continue, s.span())),
        Stmt::Break(s) => Stmt::Break(Spanned::new(ast::Break, s.span())),
        Stmt::Do(s) => {
            let node = ast::Do { call: Spanned::new(call_of(&s.call), s.call.span()) };
            Stmt::Do(Spanned::new(node, s.span()))
        }
    }
}

fn statements<'a>(body: &[Stmt<'a>]) -> Vec<Stmt<'a>> {
    body.iter().map(statement).collect()
}

fn emit<'a>(expr: Expr<'a>, span: Span) -> Stmt<'a> {
    Stmt::EmitExpr(Spanned::new(ast::EmitExpr { expr: call(CHARGE, expr, span) }, span))
}

fn macro_declaration<'a>(s: &Spanned<ast::Macro<'a>>) -> Spanned<ast::Macro<'a>> {
    let node = ast::Macro {
        name: s.name,
        args: s.args.iter().map(target).collect(),
        defaults: s.defaults.iter().map(expression).collect(),
        body: statements(&s.body),
    };
    Spanned::new(node, s.span())
}

/// What is assigned to stays as it is.
fn target<'a>(expr: &Expr<'a>) -> Expr<'a> {
    match expr {
        Expr::List(e) => Expr::List(Spanned::new(ast::List { items: e.items.iter().map(target).collect() }, e.span())),
        _ => expression(expr),
    }
}

fn operand<'a>(expr: &Expr<'a>) -> Expr<'a> {
    charged(expression(expr))
}

fn optional<'a>(expr: &Option<Expr<'a>>) -> Option<Expr<'a>> {
    expr.as_ref().map(expression)
}

fn arguments<'a>(args: &[CallArg<'a>]) -> Vec<CallArg<'a>> {
    let argument = |arg: &CallArg<'a>| match arg {
        CallArg::Pos(value) => CallArg::Pos(operand(value)),
        CallArg::Kwarg(name, value) => CallArg::Kwarg(name, operand(value)),
        CallArg::PosSplat(value) => CallArg::PosSplat(operand(value)),
        CallArg::KwargSplat(value) => CallArg::KwargSplat(operand(value)),
    };
    args.iter().map(argument).collect()
}

/// A call keeps its shape, by which minijinja knows functions, methods, blocks and loops apart.
fn call_of<'a>(c: &ast::Call<'a>) -> ast::Call<'a> {
    let expr = match &c.expr {
        Expr::GetAttr(method) if !matches!(&method.expr, Expr::Var(v) if matches!(v.id, "self" | "loop")) => {
            Expr::GetAttr(Spanned::new(ast::GetAttr { expr: operand(&method.expr), name: method.name }, method.span()))
        }
        other => expression(other),
    };
    ast::Call { expr, args: arguments(&c.args) }
}

fn expression<'a>(expr: &Expr<'a>) -> Expr<'a> {
    match expr {
        Expr::Var(e) => Expr::Var(Spanned::new(ast::Var { id: e.id }, e.span())),
        Expr::Const(e) => constant(e.value.clone(), e.span()),
        Expr::Slice(e) => {
            let (start, stop, step) = (optional(&e.start), optional(&e.stop), optional(&e.step));
            Expr::Slice(Spanned::new(ast::Slice { expr: operand(&e.expr), start, stop, step }, e.span()))
        }
        Expr::UnaryOp(e) => {
            let negated = matches!(e.op, ast::UnaryOpKind::Neg);
            let op = if negated { ast::UnaryOpKind::Neg } else { ast::UnaryOpKind::Not };
            Expr::UnaryOp(Spanned::new(ast::UnaryOp { op, expr: expression(&e.expr) }, e.span()))
        }
        Expr::BinOp(e) => binary(e),
        Expr::Compare(e) => {
            let ops = e.ops.iter().map(|op| ast::CompareOp { op: op.op, expr: operand(&op.expr) }).collect();
            Expr::Compare(Spanned::new(ast::Compare { expr: operand(&e.expr), ops }, e.span()))
        }
        Expr::IfExpr(e) => {
            let node = ast::IfExpr {
                test_expr: expression(&e.test_expr),
                true_expr: expression(&e.true_expr),
                false_expr: optional(&e.false_expr),
            };
            Expr::IfExpr(Spanned::new(node, e.span()))
        }
        Expr::Filter(e) if CHEAP_FILTERS.contains(&e.name) => {
            let node = ast::Filter { name: e.name, expr: optional(&e.expr), args: arguments(&e.args) };
            Expr::Filter(Spanned::new(node, e.span()))
        }
        Expr::Filter(e) => {
            let value = e.expr.as_ref().map(operand);
            let filter = Spanned::new(ast::Filter { name: e.name, expr: value, args: arguments(&e.args) }, e.span());
            charged(Expr::Filter(filter))
        }
        Expr::Test(e) => {
            let value = if e.args.is_empty() { expression(&e.expr) } else { operand(&e.expr) };
            Expr::Test(Spanned::new(ast::Test { name: e.name, expr: value, args: arguments(&e.args) }, e.span()))
        }
        Expr::GetAttr(e) => {
            Expr::GetAttr(Spanned::new(ast::GetAttr { expr: expression(&e.expr), name: e.name }, e.span()))
        }
        Expr::GetItem(e) => {
            let (expr, subscript_expr) = (charged_text(expression(&e.expr)), operand(&e.subscript_expr));
            Expr::GetItem(Spanned::new(ast::GetItem { expr, subscript_expr }, e.span()))
        }
        Expr::Call(e) => charged(Expr::Call(Spanned::new(call_of(e), e.span()))),
        Expr::List(e) => {
            let items = e.items.iter().map(expression).collect();
            charged(Expr::List(Spanned::new(ast::List { items }, e.span())))
        }
        Expr::Map(e) => {
            let keys = e.keys.iter().map(expression).collect();
            let values = e.values.iter().map(expression).collect();
            charged(Expr::Map(Spanned::new(ast::Map { keys, values }, e.span())))
        }
    }
}

fn binary<'a>(e: &Spanned<ast::BinOp<'a>>) -> Expr<'a> {
    let logical = matches!(e.op, BinOpKind::ScAnd | BinOpKind::ScOr);
    let side = if logical { expression } else { operand };
    let node = ast::BinOp { op: e.op, left: side(&e.left), right: side(&e.right) };
    let result = Expr::BinOp(Spanned::new(node, e.span()));
    // A product may be far larger than its factors; minijinja itself stops at 100 MB.
    if matches!(e.op, BinOpKind::Mul) { charged(result) } else { result }
}
