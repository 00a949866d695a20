//! What the zoo says of its models is what their folders hold.

use safevlm::registry;
use safevlm_tests::model_dir;
use safevlm_weights::{SafetensorsDir, TensorSource};

#[test]
fn parameters_are_those_of_the_checkpoints() {
    for entry in registry::models() {
        let dir = model_dir(entry.name);
        let weights = SafetensorsDir::open(&dir).unwrap();
        // A batch norm's running statistics are no parameters.
        let names = weights.names().into_iter().filter(|name| !name.contains(".running_"));
        let count: usize = names.map(|name| weights.info(&name).unwrap().len()).sum();
        assert_eq!(count as u64, entry.parameters, "{}", entry.name);
        let inspected = safevlm::inspect(&dir, &Default::default()).unwrap();
        assert_eq!(inspected.parameters.total as u64, entry.parameters, "{}", entry.name);
        assert!(inspected.misfit.is_none(), "{}", entry.name);
        let config = std::fs::read_to_string(dir.join("config.json")).unwrap();
        let family = format!("\"model_type\": \"{}\"", entry.family);
        assert!(config.contains(&family), "{}: config.json has no {family}", entry.name);
    }
}
