import type { FastifyReply } from 'fastify';
import { errorBody, toAppError } from '#core/errors.ts';

/**
 * Answers with JSON lines as they come. An error after the first line is the last line, in the form all errors have; one before it is an
 * ordinary error answer.
 */
export async function streamLines(reply: FastifyReply, produce: (send: (value: unknown) => void) => Promise<void>): Promise<void> {
  const { raw } = reply;
  // Whoever listens may go at any time; what is done goes on to its end.
  raw.on('error', () => undefined);
  const write = (value: unknown) => {
    if (!raw.destroyed) raw.write(`${JSON.stringify(value)}\n`);
  };
  const send = (value: unknown) => {
    if (!raw.headersSent) {
      reply.hijack();
      raw.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' });
    }
    write(value);
  };
  try {
    await produce(send);
  } catch (error) {
    if (!raw.headersSent) throw error;
    write(errorBody(toAppError(error)));
  }
  if (!raw.headersSent) {
    reply.hijack();
    raw.writeHead(200, { 'content-type': 'application/x-ndjson' });
  }
  if (!raw.destroyed) raw.end();
}
