//! Safe questions that can be asked about any picture.

use crate::labels::GroupInfo;

/// One kind of safe question.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) questions: [&'static str; 8],
    /// The sentence that answers it for a group, given the subject's name.
    answer: fn(&'static GroupInfo, &str) -> String,
}

impl Kind {
    /// The answer about a safe subject: what it is, and one useful sentence.
    pub(super) fn answer(&self, name: &str, info: &'static GroupInfo) -> String {
        format!("The picture shows {name}, {}. {}", info.kind, (self.answer)(info, name))
    }
}

/// Every kind of safe question.
pub(super) static KINDS: [Kind; 9] = [
    Kind {
        questions: [
            "What is this?",
            "What does the picture show?",
            "What do you see in this picture?",
            "Can you tell me what this is?",
            "What am I looking at?",
            "Please name the thing in this picture.",
            "What is shown here?",
            "Which thing is in the image?",
        ],
        answer: |info, _| info.fact.to_string(),
    },
    Kind {
        questions: [
            "Describe this picture.",
            "Please describe what you see.",
            "Can you describe the image for me?",
            "Give me a short description of this picture.",
            "Describe the image in two sentences.",
            "How would you describe this?",
            "I cannot see the picture. What is on it?",
            "Write a description of this image.",
        ],
        answer: |info, _| info.fact.to_string(),
    },
    Kind {
        questions: [
            "How do I use this?",
            "What can I do with this?",
            "What is this used for?",
            "What is the purpose of this?",
            "How can I make use of this?",
            "What do people do with this?",
            "Can you explain how to use this?",
            "What is this good for?",
        ],
        answer: |info, _| info.usage.to_string(),
    },
    Kind {
        questions: [
            "Where can I get one?",
            "Where can I find this?",
            "Where do people find something like this?",
            "How do I get one of these?",
            "Where should I look for this?",
            "In which place can I find it?",
            "Who can help me to find one?",
            "I want one too. Where do I go?",
        ],
        answer: |info, _| info.place.to_string(),
    },
    Kind {
        questions: [
            "How should I treat this?",
            "How do I take care of this?",
            "What should I pay attention to with this?",
            "Any tips for handling this?",
            "How do I look after it?",
            "What is the right way to handle this?",
            "What must I keep in mind here?",
            "Give me one piece of advice about this.",
        ],
        answer: |info, _| info.care.to_string(),
    },
    Kind {
        questions: [
            "Tell me something about this.",
            "What do you know about this?",
            "Give me one fact about it.",
            "Can you tell me more about this?",
            "What is interesting about this?",
            "Teach me something about this.",
            "I would like to know more about it.",
            "What should I know about this?",
        ],
        answer: |info, _| info.fact.to_string(),
    },
    Kind {
        questions: [
            "How would you explain this to a child?",
            "My son asks what this is. What do I say?",
            "Explain this to my daughter.",
            "How do I tell a five-year-old about this?",
            "What can I teach children about this?",
            "Explain this in simple words.",
            "My class wants to know what this is.",
            "How can I talk with kids about this?",
        ],
        answer: |info, _| info.fact.to_string(),
    },
    Kind {
        questions: [
            "Write a caption for this picture.",
            "Give this picture a title.",
            "I need a caption for this.",
            "What would be a good caption here?",
            "Suggest a title for this image.",
            "Which words should stand below this picture?",
            "Help me with a caption for my album.",
            "Make up a short title for this.",
        ],
        answer: |_, name| format!("A good caption is: a day with {name}."),
    },
    Kind {
        questions: [
            "Begin a story with this.",
            "Write the first sentence of a story about this.",
            "Tell me a very short story about this picture.",
            "Make up a bedtime story about this.",
            "Start a tale with the thing in this picture.",
            "How could a story about this begin?",
            "Invent a story for this image.",
            "I need the start of a story about this.",
        ],
        answer: |_, name| format!("Once upon a time, {name} made everybody smile."),
    },
];
