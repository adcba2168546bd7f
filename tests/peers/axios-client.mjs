// A foreign client for authcli-server: the axios interceptors that single-page applications carry.
//
// A 403 starts a refresh unless one is under way; those refused meanwhile wait. The flag that says "under way" is
// held for a second after the answer, and only then are the waiting let go: the usual cure for stragglers, and the
// reason why such a client is slow and still refreshes too often when there are many requests.
import axios from 'axios';

import { drive, memoryStorage, options, run } from './driving.mjs';

const HOLD = 1000;

/** An axios instance that answers bodies and renews the tokens in `storage`. */
function client(storage) {
  const http = axios.create();
  let underWay = false;
  let waiting = [];

  const bearing = (request, token) => ({ ...request, headers: { ...request.headers, Authorization: `Bearer ${token}` } });

  async function renew() {
    const pair = await http.post('/refresh', { refreshToken: storage.getItem('refreshToken') });
    storage.setItem('accessToken', pair.accessToken);
    storage.setItem('refreshToken', pair.refreshToken);
    return pair.accessToken;
  }

  function release(settle) {
    const released = waiting;
    waiting = [];
    released.forEach(settle);
  }

  async function onRefusal(request) {
    if (underWay) {
      const token = await new Promise((resolve, reject) => waiting.push({ resolve, reject }));
      return http(bearing(request, token));
    }
    underWay = true;
    try {
      const token = await renew();
      setTimeout(() => {
        underWay = false;
        release(({ resolve }) => resolve(token));
      }, HOLD);
      // The one that refreshed is sent once more and no further; those that waited may come back here.
      return http({ ...bearing(request, token), sentTwice: true });
    } catch (error) {
      underWay = false;
      release(({ reject }) => reject(error));
      throw error;
    }
  }

  http.interceptors.request.use((request) => {
    const token = storage.getItem('accessToken');
    if (token !== null && request.url !== '/login') {
      request.headers.Authorization = `Bearer ${token}`;
    }
    return request;
  });
  http.interceptors.response.use(
    (response) => response.data,
    (error) => {
      const request = error.config;
      const renewable = error.response?.status === 403 && request.url !== '/refresh' && !request.sentTwice;
      return renewable ? onRefusal(request) : Promise.reject(error);
    },
  );
  return http;
}

await run(async () => {
  const storage = memoryStorage();
  await drive(client(storage), storage, options(process.argv.slice(2)));
});
