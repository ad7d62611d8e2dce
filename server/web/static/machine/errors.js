// The server's last errors, newest first, from GET /api/v2/metrics; its version and uptime from
// GET /api/v2/health.
import { get } from "../core/api.js";
import { onEvent } from "../core/events.js";
import { html, useEffect, useState } from "../core/html.js";
import { dateTime, duration } from "../shared/format.js";

export function Errors() {
  const [found, setFound] = useState(null);
  useEffect(() => {
    // Ends the requests before: their answer may come last.
    let control = new AbortController();
    const read = () => {
      control.abort();
      control = new AbortController();
      const { signal } = control;
      Promise.all([get("api/v2/health", { signal }), get("api/v2/metrics", { signal })]).then(
        ([health, metrics]) => setFound({ health, errors: metrics.recent_errors }),
        () => {},
      );
    };
    read();
    const end = onEvent((event) => {
      if (event.type === "crash" || event.status === "failed") read();
    });
    return () => {
      control.abort();
      end();
    };
  }, []);
  if (!found) return null;
  const { health } = found;
  const errors = [...found.errors].reverse();
  return html`
    <section class="errors">
      <h2>Last errors</h2>
      ${errors.length === 0
        ? html`<p class="quiet">None since the server started.</p>`
        : html`<ul class="error-list">${errors.map((text, index) => html`<${OneError} key=${`${index}${text}`} text=${text} />`)}</ul>`}
      <p class="quiet small">llamabind ${health.version}, running for ${runningFor(health.uptime)}.</p>
    </section>`;
}

/** "0d 2h 5m" of the API in words. */
function runningFor(uptime) {
  const [, days, hours, minutes] = /^(\d+)d (\d+)h (\d+)m$/.exec(uptime) || [];
  if (minutes === undefined) return uptime;
  const seconds = ((Number(days) * 24 + Number(hours)) * 60 + Number(minutes)) * 60;
  return seconds ? duration(seconds) : "less than a minute";
}

/** An error begins with its time. */
function OneError({ text }) {
  const [, time, words] = /^(\S+) (.*)$/s.exec(text) || [null, "", text];
  return html`<li><time class="quiet small number" datetime=${time}>${dateTime(time)}</time> <span class="sentence">${words}</span></li>`;
}
