import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Type;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.springframework.messaging.converter.CompositeMessageConverter;
import org.springframework.messaging.converter.MappingJackson2MessageConverter;
import org.springframework.messaging.converter.StringMessageConverter;
import org.springframework.messaging.simp.stomp.StompCommand;
import org.springframework.messaging.simp.stomp.StompFrameHandler;
import org.springframework.messaging.simp.stomp.StompHeaders;
import org.springframework.messaging.simp.stomp.StompSession;
import org.springframework.messaging.simp.stomp.StompSessionHandlerAdapter;
import org.springframework.scheduling.concurrent.ThreadPoolTaskScheduler;
import org.springframework.web.socket.WebSocketHttpHeaders;
import org.springframework.web.socket.client.standard.StandardWebSocketClient;
import org.springframework.web.socket.messaging.WebSocketStompClient;
import org.springframework.web.socket.sockjs.client.RestTemplateXhrTransport;
import org.springframework.web.socket.sockjs.client.SockJsClient;
import org.springframework.web.socket.sockjs.client.Transport;
import org.springframework.web.socket.sockjs.client.WebSocketTransport;

/**
 * Spring's WebSocketStompClient with SockJsClient, over one transport: takes, confirms by /app/ack, reconnects, survives the server's death and
 * gets what it missed once. The lines that it speaks are told in tests/browser/story.mjs.
 *
 * <pre>java SpringClient http://127.0.0.1:2025 test1 websocket|xhr-streaming|xhr-polling</pre>
 */
public final class SpringClient {
  private static final long PATIENCE_S = 20;
  private static final String QUEUE = "/user/queue/msg";
  private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);
  private static final ObjectMapper JSON = new ObjectMapper();

  private final BufferedReader answers = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
  private final HttpClient http = HttpClient.newHttpClient();
  private final WebSocketStompClient client;
  private final String url;
  private final String user;

  /** What one session gets. */
  private final class Inbox extends StompSessionHandlerAdapter {
    final LinkedBlockingQueue<Delivery> arrivals = new LinkedBlockingQueue<>();
    final List<String> first = new ArrayList<>();
    final CompletableFuture<Throwable> lost = new CompletableFuture<>();
    StompSession session;

    @Override
    public void handleTransportError(StompSession session, Throwable error) {
      lost.complete(error);
    }

    @Override
    public void handleException(StompSession session, StompCommand command, StompHeaders headers, byte[] body, Throwable error) {
      giveUp(error);
    }

    @Override
    public void handleFrame(StompHeaders headers, Object body) {
      giveUp(new IllegalStateException("ERROR " + headers));
    }

    Delivery next() throws Exception {
      Delivery delivery = arrivals.poll(PATIENCE_S, TimeUnit.SECONDS);
      if (delivery == null) throw new IllegalStateException("no MESSAGE came");
      return delivery;
    }

    /** The next first delivery, which has to be this one. */
    void takesFirst(String id) throws Exception {
      for (;;) {
        Delivery delivery = next();
        if (delivery.attempt() > 1) continue;
        equal("the next notification", delivery.id(), id);
        return;
      }
    }

    void confirm(String id) throws Exception {
      StompHeaders headers = new StompHeaders();
      headers.setDestination("/app/ack");
      receipt("the receipt for " + id, session.send(headers, id));
    }
  }

  private record Delivery(String id, int attempt, JsonNode body) {}

  private SpringClient(String url, String user, String transport) {
    this.url = url;
    this.user = user;
    RestTemplateXhrTransport xhr = new RestTemplateXhrTransport();
    xhr.setXhrStreamingDisabled(transport.equals("xhr-polling"));
    Transport used = transport.equals("websocket") ? new WebSocketTransport(new StandardWebSocketClient()) : xhr;
    client = new WebSocketStompClient(new SockJsClient(List.of(used)));
    client.setMessageConverter(new CompositeMessageConverter(List.of(new StringMessageConverter(), new MappingJackson2MessageConverter())));
    ThreadPoolTaskScheduler scheduler = new ThreadPoolTaskScheduler();
    scheduler.setDaemon(true);
    scheduler.initialize();
    client.setTaskScheduler(scheduler);
  }

  public static void main(String[] arguments) {
    try {
      new SpringClient(arguments[0], arguments[1], arguments[2]).tell();
      OUT.println("TOLD spring " + arguments[2]);
      OUT.println("OK");
      System.exit(0);
    } catch (Throwable error) {
      giveUp(error);
    }
  }

  private void tell() throws Exception {
    // It takes, and confirms; what it leaves unconfirmed comes again.
    Inbox inbox = connect();
    OUT.println("READY");
    String text = "one: ünï😀\n\"quoted\" <b> </script> \u2028";
    String one = publish(text);
    Delivery delivery = inbox.next();
    equal("the id", delivery.id(), one);
    equal("the data", delivery.body().get("data").asText(), text);
    inbox.confirm(one);
    String two = publish("two");
    for (int attempt = 1; attempt <= 2; attempt++) {
      Delivery again = inbox.next();
      equal("the id", again.id(), two);
      equal("the attempt", again.attempt(), attempt);
    }
    inbox.confirm(two);

    // It is away, and comes back.
    inbox.session.disconnect();
    String three = publish("three");
    String four = publish("four");
    inbox = connect();
    for (String id : List.of(three, four)) {
      inbox.takesFirst(id);
      inbox.confirm(id);
    }

    // The server dies.
    String five = publish("five");
    inbox.takesFirst(five);
    equal("the answer", ask("KILL"), "KILLED");
    inbox.lost.get(PATIENCE_S, TimeUnit.SECONDS);
    equal("the answer", ask("RESTART"), "RESTARTED");
    inbox = connect();
    inbox.takesFirst(five);
    inbox.confirm(five);
    String six = publish("six");
    inbox.takesFirst(six);
    inbox.confirm(six);
    equal("what this session got", inbox.first, List.of(five, six));
    inbox.session.disconnect();
  }

  private Inbox connect() throws Exception {
    Inbox inbox = new Inbox();
    StompHeaders connect = new StompHeaders();
    connect.add("Authorization", user);
    inbox.session = client
      .connectAsync(URI.create(url + "/stomp-ws"), new WebSocketHttpHeaders(), connect, inbox)
      .get(PATIENCE_S, TimeUnit.SECONDS);
    inbox.session.setAutoReceipt(true);
    StompHeaders subscribe = new StompHeaders();
    subscribe.setDestination(QUEUE);
    receipt("the receipt for SUBSCRIBE", inbox.session.subscribe(subscribe, new StompFrameHandler() {
      @Override
      public Type getPayloadType(StompHeaders headers) {
        return JsonNode.class;
      }

      @Override
      public void handleFrame(StompHeaders headers, Object body) {
        JsonNode message = (JsonNode) body;
        Delivery delivery = new Delivery(message.get("id").asText(), Integer.parseInt(headers.getFirst("attempt")), message);
        OUT.println("GOT " + delivery.id() + " " + delivery.attempt());
        if (delivery.attempt() == 1) inbox.first.add(delivery.id());
        inbox.arrivals.add(delivery);
      }
    }));
    return inbox;
  }

  private String publish(String text) throws Exception {
    String draft = JSON.writeValueAsString(Map.of("receiver", user, "data", text));
    HttpRequest request = HttpRequest.newBuilder(URI.create(url + "/api/notify"))
      .timeout(Duration.ofSeconds(PATIENCE_S))
      .header("Content-Type", "application/json")
      .POST(HttpRequest.BodyPublishers.ofString(draft))
      .build();
    HttpResponse<String> answer = http.send(request, HttpResponse.BodyHandlers.ofString());
    equal("the status of " + answer.body(), answer.statusCode(), 202);
    return JSON.readTree(answer.body()).get("id").asText();
  }

  private String ask(String question) throws Exception {
    OUT.println(question);
    return answers.readLine();
  }

  private static void receipt(String what, StompSession.Receiptable sent) throws Exception {
    CompletableFuture<Boolean> came = new CompletableFuture<>();
    sent.addReceiptTask(() -> came.complete(true));
    sent.addReceiptLostTask(() -> came.complete(false));
    equal(what, came.get(PATIENCE_S, TimeUnit.SECONDS), true);
  }

  private static void equal(String what, Object found, Object expected) {
    if (!found.equals(expected)) throw new IllegalStateException(what + " is " + found + ", expected " + expected);
  }

  private static void giveUp(Throwable error) {
    System.err.println("FAILED: " + error);
    error.printStackTrace();
    System.exit(1);
  }
}
