// Provokes the refusals that Dredd expects but cannot cause by itself; skips those that nothing here can cause.
const hooks = require('hooks');

const UNREACHABLE = [402, 409, 413, 415, 422, 429, 500];

hooks.beforeEach((transaction, done) => {
  const status = Number(transaction.expected.statusCode);
  const isRun = /\/run(\?|$)/.test(transaction.fullPath);
  if (UNREACHABLE.includes(status) || (status === 202 && isRun)) transaction.skip = true;
  if (status === 400 && !isRun) transaction.skip = true;
  if (status === 400) transaction.request.body = '{"inputs": []}';
  if (status === 401) delete transaction.request.headers['x-api-key'];
  if (status === 403) transaction.request.headers['x-api-key'] = process.env.LOW_KEY;
  if (status === 404) {
    transaction.fullPath = transaction.fullPath
      .replace(/executions\/[^/?]+/, 'executions/00000000-0000-4000-8000-000000000000')
      .replace(/(workflows|models)\/[^/?]+/, '$1/unknown-here');
  }
  done();
});
