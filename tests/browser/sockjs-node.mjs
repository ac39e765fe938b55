/**
 * A STOMP library over one transport of `sockjs-client` in Node, which has websocket, xhr-streaming and xhr-polling.
 *
 *     node sockjs-node.mjs http://127.0.0.1:2025 test1 stompjs2 xhr-polling
 */

import { Client } from '@stomp/stompjs';
import SockJS from 'sockjs-client';
import Stomp from 'stompjs';
import webstomp from 'webstomp-client';
import { LIBRARIES } from './sockjs.mjs';
import { equal, giveUp, run, say } from './story.mjs';
import { tellOver } from './sockjs-story.mjs';

run(async (url, user, library, transport) => {
  let used;
  const open = () => {
    const socket = new SockJS(`${url}/stomp-ws`, null, { transports: transport });
    socket.addEventListener('open', () => (used = socket.transport));
    return socket;
  };
  const complain = (text) => giveUp(new Error(text));
  const make = (take) => LIBRARIES[library]({ Client, Stomp, webstomp }, open, user, take, complain);
  await tellOver({ library, transport, url, user }, async (take) => {
    const client = make(take);
    return (name, ...given) => client[name](...given);
  });
  equal('the transport', used, transport);
  say(`TOLD ${library} ${transport}`);
});
