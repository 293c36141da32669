//! A field for text, with a name for those who do not see it.

use egui::{Margin, Response, TextEdit, Ui};

/// Draws a field under a name. A hint alone would name it only while it is empty.
pub fn field(ui: &mut Ui, name: &str, edit: TextEdit<'_>) -> Response {
    let response = ui.add(edit.margin(Margin::symmetric(8, 6)));
    ui.ctx().accesskit_node_builder(response.id, |node| node.set_label(name));
    response
}
