//! What a server says of itself on its admin page.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::Context;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A page, in the text format of Prometheus.
#[derive(Clone, Debug)]
pub(crate) struct Metrics(String);

impl Metrics {
    /// Asks a server for its page.
    pub(crate) async fn of(admin: SocketAddr) -> anyhow::Result<Self> {
        let mut tcp = TcpStream::connect(admin).await?;
        tcp.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut text = String::new();
        tcp.read_to_string(&mut text).await?;
        Ok(Self(text))
    }

    /// The value of a counter or gauge without labels.
    pub(crate) fn counter(&self, name: &str) -> anyhow::Result<u64> {
        let value = self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok()).with_context(|| format!("no counter {name}"))
    }

    /// A family's values by their labels, as `a="b"`; what was never counted is not among them.
    pub(crate) fn family(&self, name: &str) -> anyhow::Result<BTreeMap<String, u64>> {
        let values = self.0.lines().filter_map(|line| {
            let (labels, value) = line.strip_prefix(name)?.strip_prefix('{')?.rsplit_once("} ")?;
            Some(value.parse().map(|value| (labels.to_owned(), value)))
        });
        Ok(values.collect::<Result<_, _>>()?)
    }

    /// The sum of those of a family's values that have this label.
    pub(crate) fn sum(&self, family: &str, label: &str) -> anyhow::Result<u64> {
        let values = self.family(family)?;
        Ok(values
            .iter()
            .filter(|(labels, _)| labels.split(',').any(|it| it == label))
            .map(|(_, value)| value)
            .sum())
    }
}

#[cfg(test)]
impl Metrics {
    /// A page that says this.
    pub(crate) fn from_text(text: &str) -> Self {
        Self(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_name_and_label() {
        let page = Metrics::from_text(
            "HTTP/1.1 200 OK\r\n\r\n# TYPE a counter\na_total 7\na_total_more 8\n\
             f_total{x=\"1\",y=\"2\"} 3\nf_total{x=\"1\",y=\"3\"} 4\nf_total{x=\"2\",y=\"2\"} 5\n",
        );
        assert_eq!(page.counter("a_total").unwrap(), 7);
        assert!(page.counter("a").is_err());
        for (label, sum) in [("x=\"1\"", 7), ("y=\"2\"", 8), ("x=\"9\"", 0)] {
            assert_eq!(page.sum("f_total", label).unwrap(), sum, "{label}");
        }
        assert_eq!(page.sum("g_total", "x=\"1\"").unwrap(), 0);
    }
}
