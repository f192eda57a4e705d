//! The example of a classroom does what it says.

// Its `main` is for a terminal.
#[expect(dead_code)]
#[path = "../../client/examples/classroom.rs"]
mod example;

use quail_tests::{Carrier, Town, within};

#[tokio::test]
async fn the_classroom_shows_everybody_how_many_were_right() {
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let teacher = town.connect(carrier, "teacher").await;
        let students = [
            (town.connect(carrier, "ada").await, "56"),
            (town.connect(carrier, "ben").await, "54"),
            (town.connect(carrier, "cleo").await, "56"),
        ];
        let shown = within(example::lesson("maths", teacher, students)).await.unwrap();
        assert_eq!(shown, ["2 right, 1 wrong"; 3]);
    }
}
