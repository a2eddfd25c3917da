// Posts events with the CloudEvents SDK in its three modes, and prints what the
// ingest answers, with the bodies that receivers should get: node
// cloudevents.mjs http://127.0.0.1:8080/
import { CloudEvent, HTTP, Mode, emitterFor, httpTransport } from 'cloudevents';

const send = httpTransport(process.argv[2]);

// The SDK sets id and time. It writes headers as they are, so what is not in
// ASCII can be in the data only.
const event = () => new CloudEvent({
  type: 'version.promoted',
  source: '/folders/fld_jkl345',
  subject: 'prm_xyz789',
  folderid: 'fld_jkl345',
  foldername: 'Production "Prompts"',
  data: { promptName: 'Ответ <b>клиенту</b> \u2028 😀', 10: 'ten', 9: 'nine', versionNumber: 5, share: 0.1, nested: { list: [] } },
});

const expected = ({ id, type, time, data, source, subject, folderid, foldername }) =>
  JSON.stringify({ id, type, timestamp: time, data, metadata: { source, subject, folderid, foldername } });

// The SDK reads batches, but has no function that writes them.
function batch(events) {
  const message = {
    headers: { 'content-type': 'application/cloudevents-batch+json; charset=utf-8' },
    body: JSON.stringify(events),
  };
  if (HTTP.toEvent(message).length !== events.length) {
    throw new Error('the SDK does not read the batch');
  }
  return send(message);
}

const modes = {
  [Mode.BINARY]: (events) => emitterFor(send, { mode: Mode.BINARY })(events[0]),
  [Mode.STRUCTURED]: (events) => emitterFor(send, { mode: Mode.STRUCTURED })(events[0]),
  [Mode.BATCH]: batch,
};

const report = [];
for (const [mode, post] of Object.entries(modes)) {
  const events = mode === Mode.BATCH ? [event(), event()] : [event()];
  const { body } = await post(events);
  report.push({ mode, answer: JSON.parse(body), bodies: events.map(expected) });
}
console.log(JSON.stringify(report));
