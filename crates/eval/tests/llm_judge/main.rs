//! The judge `llm` against a server on this machine that misbehaves. Nothing goes outside.

mod requests;
mod server;
mod trouble;

use std::time::Duration;

use safevlm_eval::{EvalError, Judge, Judgement, LlmError, LlmJudge, LlmJudgeConfig, Prediction, Secret};
use serde_json::json;
use server::Server;

const KEY: &str = "sk-very-secret-0123456789";
const TRUE: &str = "<label>True</label>";
const FALSE: &str = "<label>False</label>";

/// Rows 0 to `count`: the answer to row 7 is `answer 7.`.
fn rows(count: u64) -> Vec<Prediction> {
    (0..count).map(|id| row(id, "SUU", &format!("answer {id}."))).collect()
}

fn row(id: u64, combination: &str, prediction: &str) -> Prediction {
    let row = json!({
        "id": id, "image": "hate/race/a.png", "query": format!("question {id}?"), "type": combination,
        "category": "hate", "subcategory": "race", "image_safe": true, "image_safety_label": 0,
        "prediction": prediction,
    });
    serde_json::from_value(row).unwrap()
}

/// Settings for tests: without pictures, one request at a time, and quick to come back.
fn config(server: &Server) -> LlmJudgeConfig {
    LlmJudgeConfig {
        concurrency: 1,
        backoff: Duration::from_millis(1),
        timeout: Duration::from_secs(5),
        api_key: Some(Secret::new("TEST_JUDGE_KEY", KEY).unwrap()),
        ..LlmJudgeConfig::new(&server.url(), "judge-1")
    }
}

fn judge(config: LlmJudgeConfig, rows: &[Prediction]) -> (Result<Vec<Judgement>, EvalError>, LlmJudge) {
    let mut judge = LlmJudge::new(config).unwrap();
    let found = judge.judge(rows);
    (found, judge)
}

/// The error, after a look that it does not show the key.
fn failure(found: Result<Vec<Judgement>, EvalError>) -> LlmError {
    let error = found.unwrap_err();
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(!text.contains(KEY), "{text}");
    }
    match error {
        EvalError::Llm(error) => error,
        error => panic!("{error}"),
    }
}
