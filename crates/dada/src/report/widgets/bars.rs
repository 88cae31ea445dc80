//! Horizontal bars for named shares: classes, from the worst to the best.

use crate::report::widgets::html::{Html, decimal, escape};

/// A named share.
#[derive(Clone, Debug)]
pub struct Bar {
    /// What it is of.
    pub name: String,
    /// Its value, 0 to 1.
    pub value: f64,
    /// A remark behind the number, such as how many queries it is the mean of; may be empty.
    pub note: String,
}

/// Bars in the order given. Long lists scroll.
pub fn bars(caption: &str, bars: &[Bar]) -> Html {
    let row = |bar: &Bar| {
        let width = if bar.value.is_finite() { 100.0 * bar.value.clamp(0.0, 1.0) } else { 0.0 };
        let [name, note] = [&bar.name, &bar.note].map(escape);
        format!(
            "<tr><th scope=\"row\" title=\"{name}\">{name}</th><td class=\"bar\"><i style=\"width:{width:.1}%\"></i></td><td>{}</td>\
             <td class=\"aside\">{note}</td></tr>\n",
            decimal(bar.value, 3)
        )
    };
    let rows: String = bars.iter().map(row).collect();
    Html(format!(
        "<figure><figcaption>{}</figcaption>\n<div class=\"scroll\" tabindex=\"0\"><table class=\"bars\"><tbody>\n{rows}</tbody></table></div>\
         </figure>\n",
        escape(caption)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share_and_never_longer_than_the_whole() {
        let bar = |value| Bar { name: "a".into(), value, note: String::new() };
        let drawn = bars("", &[bar(0.255), bar(7.0), bar(-1.0), bar(f64::NAN)]);
        let widths: Vec<&str> = drawn.markup().split("width:").skip(1).map(|rest| rest.split('%').next().unwrap()).collect();
        assert_eq!(widths, ["25.5", "100.0", "0.0", "0.0"]);
    }
}
