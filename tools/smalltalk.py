"""Small talk for the last stage of fathom-nano: conversations of several turns that remember what was said, about
feelings, hobbies, animals, things, jobs, weather, riddles and advice, and short stories that hang together. All of it
is put together here from the tables below; conversations.py writes it.

    conversation(r, exercise) -> [{"role": …, "content": …}, …]

r is a random.Random; exercise(r) gives a question and its answer, for sums between other things.
"""

# ---- What the talk is about. ----

PEOPLE = ("Anna Ben Clara David Emma Frank Grace Henry Ida Jack Kate Leo Mary Nora Oscar Paul Rose Sam Tom Vera Will Zoe "
          "Lucy Peter Jane Alice Mark Sophie Daniel Ella Max Julia Simon Hannah George Maria Lily Adam Laura").split()

CITIES = ("London Paris Berlin Rome Madrid Vienna Boston Chicago Dublin Oslo Tokyo Lisbon Athens Prague Warsaw Toronto "
          "Sydney Cairo Delhi Helsinki").split()

FOODS = "bread soup rice pasta cheese fish pizza salad potatoes apples cake honey noodles eggs chocolate pancakes".split()

COLOURS = "red blue green yellow orange purple black white brown pink".split()

# name: what it is, what it eats, where it lives, what it does, its legs, its young
ANIMALS = {
    "dog": ("a friendly animal that lives with people", "meat and dog food", "in houses with people", "barks", 4, "puppy"),
    "cat": ("a small, soft animal that many people keep at home", "meat, fish and mice", "in houses with people", "meows",
            4, "kitten"),
    "cow": ("a large farm animal that gives milk", "grass", "on farms", "moos", 4, "calf"),
    "horse": ("a large, strong animal that people can ride", "grass and hay", "on farms and in fields", "neighs", 4, "foal"),
    "sheep": ("a farm animal that gives wool", "grass", "on farms and on hills", "bleats", 4, "lamb"),
    "pig": ("a clever farm animal with a flat nose", "roots, corn and scraps", "on farms", "grunts", 4, "piglet"),
    "hen": ("a farm bird that lays eggs", "seeds and worms", "on farms", "clucks", 2, "chick"),
    "duck": ("a bird that swims well", "plants, seeds and small fish", "near ponds and rivers", "quacks", 2, "duckling"),
    "owl": ("a bird that flies at night", "mice and other small animals", "in woods and old barns", "hoots", 2, "owlet"),
    "lion": ("a big, strong cat", "meat", "in the grasslands of Africa", "roars", 4, "cub"),
    "tiger": ("a big cat with black stripes", "meat", "in the forests of Asia", "roars", 4, "cub"),
    "elephant": ("the largest animal on land", "grass, leaves and fruit", "in Africa and Asia", "trumpets", 4, "calf"),
    "bear": ("a large animal with thick fur", "fish, berries and honey", "in forests and mountains", "growls", 4, "cub"),
    "wolf": ("a wild animal that looks like a big dog", "meat", "in forests, in a group called a pack", "howls", 4, "pup"),
    "fox": ("a clever wild animal with a thick red tail", "mice, birds and berries", "in woods and fields", "barks", 4,
            "cub"),
    "rabbit": ("a small animal with long ears", "grass and vegetables", "in holes under the ground", "is very quiet", 4,
               "kit"),
    "mouse": ("a very small animal with a long tail", "seeds and grain", "in fields and in walls", "squeaks", 4, "pup"),
    "frog": ("a small animal that jumps and swims", "flies and other insects", "near ponds", "croaks", 4, "tadpole"),
    "bee": ("an insect that makes honey", "the sweet juice of flowers", "in a hive", "buzzes", 6, "grub"),
    "spider": ("a small animal that spins webs", "flies and other insects", "in gardens and in corners", "makes no sound",
               8, "spiderling"),
    "monkey": ("a clever animal that climbs trees", "fruit, nuts and leaves", "in warm forests", "chatters", 4, "infant"),
    "penguin": ("a bird that swims but cannot fly", "fish", "in the cold south", "calls loudly", 2, "chick"),
    "snake": ("a long animal without legs", "mice, eggs and frogs", "in woods, deserts and grass", "hisses", 0,
              "hatchling"),
    "whale": ("the largest animal in the sea", "small sea animals and fish", "in the sea", "sings", 0, "calf"),
    "shark": ("a large fish with sharp teeth", "other fish", "in the sea", "makes no sound", 0, "pup"),
}

# thing: what it is for
THINGS = {
    "an umbrella": "An umbrella keeps you dry in the rain.", "a clock": "A clock tells us the time.",
    "a bridge": "A bridge lets people cross a river or a road.", "a key": "A key opens and closes a lock.",
    "a map": "A map shows where places are.", "a lamp": "A lamp gives light when it is dark.",
    "a spoon": "A spoon is for eating soup and other soft food.", "a knife": "A knife is for cutting.",
    "a window": "A window lets light and air into a room.", "a door": "A door lets you go into a room and out of it.",
    "a book": "A book has pages with words, and people read it.", "a pen": "A pen is for writing.",
    "a chair": "A chair is something to sit on.", "a bed": "A bed is something to sleep in.",
    "a hammer": "A hammer drives nails into wood.", "a coat": "A coat keeps you warm when it is cold.",
    "a boat": "A boat carries people over water.", "a train": "A train carries people and goods on rails.",
    "a bicycle": "A bicycle has two wheels, and you ride it by turning the pedals.",
    "a school": "A school is a place where children learn.", "a hospital": "A hospital is a place where sick people get help.",
    "a library": "A library is a place where you can read and borrow books.",
    "a market": "A market is a place where people buy and sell things.", "a farm": "A farm is a place where food is grown.",
    "a forest": "A forest is a large place full of trees.", "a river": "A river is water that flows over land to the sea.",
    "a mountain": "A mountain is very high land, higher than a hill.", "an island": "An island is land with water all around it.",
    "a desert": "A desert is a dry place where it rarely rains.", "a cloud": "A cloud is made of very small drops of water.",
    "rain": "Rain is water that falls from clouds.", "snow": "Snow is frozen water that falls in white flakes.",
    "ice": "Ice is water that is frozen hard.", "wind": "Wind is air that moves.", "the sun": "The sun is a star that gives us light and warmth.",
    "the moon": "The moon goes around the earth, and we see it at night.",
    "a rainbow": "A rainbow is a bow of colours that we see when the sun shines through rain.",
    "honey": "Honey is a sweet food that bees make.", "bread": "Bread is a food made of flour and water and baked in an oven.",
    "cheese": "Cheese is a food made from milk.", "music": "Music is sound that is put together so that it is good to hear.",
    "a friend": "A friend is somebody you like and trust.", "a king": "A king is a man who rules a country.",
    "a computer": "A computer is a machine that follows instructions very quickly.",
    "a language model": "A language model is a program that has read much text and guesses which word comes next.",
    "a piano": "A piano is an instrument with black and white keys.", "a garden": "A garden is a place where flowers and vegetables grow.",
}

JOBS = {
    "doctor": "helps people who are ill", "teacher": "helps people learn", "farmer": "grows food and looks after animals",
    "baker": "makes bread and cakes", "cook": "prepares meals", "pilot": "flies planes", "sailor": "works on a ship",
    "nurse": "looks after people who are ill", "writer": "writes books and stories", "painter": "paints pictures or walls",
    "singer": "sings songs", "builder": "builds houses", "driver": "drives cars or buses", "gardener": "looks after gardens",
    "dentist": "looks after teeth", "tailor": "makes clothes", "carpenter": "makes things of wood",
    "librarian": "looks after books in a library", "firefighter": "puts out fires", "vet": "helps animals that are ill",
}

OPPOSITES = [p.split("-") for p in (
    "hot-cold big-small tall-short old-young new-old fast-slow light-dark day-night happy-sad rich-poor open-closed hard-soft "
    "wet-dry full-empty early-late near-far high-low loud-quiet clean-dirty strong-weak thick-thin up-down left-right "
    "first-last good-bad right-wrong always-never long-short inside-outside friend-enemy begin-end").split()]

COLOUR_OF = {"the sky on a clear day": "blue", "grass": "green", "snow": "white", "coal": "black", "a lemon": "yellow",
             "blood": "red", "a carrot": "orange", "milk": "white", "the sun": "yellow", "a banana": "yellow",
             "a strawberry": "red", "chocolate": "brown", "a leaf in summer": "green", "the sea": "blue", "an orange": "orange",
             "a crow": "black", "a pig": "pink", "a tomato": "red", "salt": "white", "wood": "brown"}

COUNTS = {"How many legs does a table have?": "A table usually has four legs.", "How many days are in a week?":
          "A week has seven days.", "How many months are in a year?": "A year has twelve months.",
          "How many hours are in a day?": "A day has twenty-four hours.", "How many minutes are in an hour?":
          "An hour has sixty minutes.", "How many wheels does a car have?": "A car has four wheels.",
          "How many fingers does a hand have?": "A hand has five fingers, with the thumb.",
          "How many eyes do you have?": "I have no eyes. I am a program. People have two.",
          "How many seasons are there?": "There are four seasons: spring, summer, autumn and winter.",
          "How many letters are in the alphabet?": "The English alphabet has twenty-six letters."}

# hobby: what one says of it, what one asks
HOBBIES = {
    "swimming": ("Swimming is good for the whole body.", "Do you swim in a pool or in the sea?"),
    "reading": ("Reading is a fine way to spend an evening.", "What kind of books do you like?"),
    "cooking": ("Cooking is useful and fun.", "What do you like to cook?"),
    "music": ("Music makes many people happy.", "Do you play an instrument?"),
    "painting": ("Painting is a quiet and pleasant hobby.", "What do you paint?"),
    "football": ("Football is a game that people play all over the world.", "Do you play it or watch it?"),
    "chess": ("Chess is a game that makes you think.", "Do you play with friends?"),
    "gardening": ("A garden is a lovely place.", "What do you grow?"),
    "walking": ("Walking is healthy, and it clears the head.", "Where do you like to walk?"),
    "dancing": ("Dancing is good fun.", "What kind of dance do you like?"),
    "travelling": ("Travelling shows you new places and people.", "Where would you like to go next?"),
    "cycling": ("Cycling is fast, quiet and healthy.", "Do you ride every day?"),
    "writing": ("Writing helps people put their thoughts in order.", "What do you write about?"),
    "singing": ("Singing is good for the heart.", "What songs do you like?"),
    "fishing": ("Fishing is a quiet hobby.", "Do you fish in a river or in the sea?"),
    "films": ("A good film can make an evening special.", "What film did you see last?"),
}

HOBBY_ANSWERS = {
    "swimming": ["In a pool.", "In the sea, when it is warm."], "reading": ["I like old stories.", "Mostly stories about travel."],
    "cooking": ["Soup, most of all.", "I like to bake cakes."], "music": ["Yes, I play the piano.", "No, I only listen."],
    "painting": ["Trees and rivers.", "Mostly faces."], "football": ["I play it with friends.", "I only watch it."],
    "chess": ["Yes, every week.", "No, with my father."], "gardening": ["Roses.", "Potatoes and beans."],
    "walking": ["In the woods.", "Along the river."], "dancing": ["I like slow dances.", "Any dance at all."],
    "travelling": ["To the mountains.", "I would like to see the sea."], "cycling": ["Yes, to work.", "Only on Sundays."],
    "writing": ["About my childhood.", "I write short stories."], "singing": ["Old songs.", "Songs about love."],
    "fishing": ["In a river.", "In the sea."], "films": ["A funny one.", "I do not remember its name."],
}

HOBBY_REPLIES = ["That sounds very nice.", "That sounds good. I hope you enjoy it.", "How lovely.",
                 "That must be a pleasure.", "I am glad that you have something you enjoy."]

# what a person says of how they feel: kind, then what is answered
FEELINGS = {
    "happy": (["I am happy today.", "I feel great.", "I had a good day.", "I am in a good mood."],
              ["I am glad to hear that! What made you happy?", "That is good news. What happened?",
               "How nice! What was the best part of your day?"],
              ["My friend visited me.", "I passed my exam.", "The sun is shining.", "I got a new job.", "It is my birthday."]),
    "sad": (["I am sad.", "I feel sad today.", "I had a bad day.", "I am not happy."],
            ["I am sorry to hear that. What happened?", "I am sorry. Do you want to talk about it?",
             "That is hard. What made you sad?"],
            ["I lost my keys.", "My friend moved away.", "I failed a test.", "My cat is ill.", "I had a fight with my brother."]),
    "tired": (["I am tired.", "I feel so tired.", "I am very tired today."],
              ["I am sorry to hear that. Did you sleep well?", "Perhaps you need some rest. Did you work a lot today?"],
              ["No, I slept badly.", "Yes, I worked all day.", "I got up very early."]),
    "bored": (["I am bored.", "I have nothing to do.", "I am so bored."],
              ["You could read a book, go for a walk, or call a friend. What do you like?",
               "Let us talk, then. What do you like to do in your free time?"],
              ["I like games.", "I like to be outside.", "I do not know."]),
    "worried": (["I am worried.", "I am nervous about tomorrow.", "I am a little afraid."],
                ["I understand. What are you worried about?", "That happens to everybody. What is it about?"],
                ["I have a test tomorrow.", "I must speak in front of many people.", "I start a new job.",
                 "I have to see the dentist."]),
    "angry": (["I am angry.", "I am so angry today.", "I am annoyed."],
              ["I am sorry to hear that. What made you angry?", "That is not a nice feeling. What happened?"],
              ["My neighbour is loud.", "The bus was late again.", "Somebody broke my cup."]),
}

FEELING_REPLIES = {
    "happy": ["That is wonderful. Enjoy it!", "How lovely! I am happy for you.", "That is a good reason to be happy."],
    "sad": ["I am sorry. I hope it will be better soon.", "That is sad. Perhaps it helps to talk with a friend.",
            "I understand that this hurts. Be kind to yourself today."],
    "tired": ["Then try to go to bed early tonight.", "A short rest and a glass of water may help."],
    "bored": ["Then perhaps a walk would be good.", "We could play with words. Ask me for a riddle!",
              "You could learn something new, one small thing at a time."],
    "worried": ["Prepare a little, sleep well, and take it step by step. You can do it.",
                "It is normal to be nervous. Breathe slowly, and do one thing at a time."],
    "angry": ["I understand. It may help to breathe slowly and go for a walk.", "That would annoy many people. I hope it gets better."],
}

WEATHER = {
    "It is raining here.": "Then a warm drink and a good book may be just right. Do you like the rain?",
    "It is sunny today.": "How nice! It is a good day to be outside.",
    "It is snowing.": "Snow makes everything quiet and white. Keep warm!",
    "It is very cold today.": "Then put on a warm coat. A hot soup helps, too.",
    "It is very hot here.": "Drink enough water, and stay in the shade if you can.",
    "The wind is strong today.": "Then hold on to your hat! It is a good day to fly a kite.",
}

RIDDLES = [
    ("What has hands but cannot clap?", "A clock.", "A clock has hands that show the time."),
    ("What has teeth but cannot bite?", "A comb.", "A comb has teeth for the hair."),
    ("What gets wetter the more it dries?", "A towel.", "A towel gets wet when it dries you."),
    ("What has a neck but no head?", "A bottle.", "A bottle has a neck."),
    ("What has keys but opens no door?", "A piano.", "A piano has keys to play on."),
    ("What goes up but never comes down?", "Your age.", "Your age only grows."),
    ("What has legs but cannot walk?", "A table.", "A table stands on its legs."),
    ("What can you catch but not throw?", "A cold.", "You catch a cold when you are ill."),
    ("What has one eye but cannot see?", "A needle.", "The thread goes through its eye."),
    ("What is full of holes but still holds water?", "A sponge.", "A sponge is full of holes."),
]

JOKES = ["Why did the book go to the doctor? Because it had hurt its spine.",
         "Why was the clock sent out of school? It was always ticking.",
         "What did one wall say to the other? I will meet you at the corner.",
         "Why do fish live in salt water? Because pepper makes them sneeze.",
         "What do you call a bear without teeth? A gummy bear.",
         "Why did the tomato turn red? Because it saw the salad dressing."]

ADVICE = {
    "How can I sleep better?": "Go to bed at the same time every day, keep the room dark and cool, and put your phone away an "
                               "hour before.",
    "How do I make tea?": "Boil some water, pour it over the tea, wait three minutes, and take the tea out. Add milk or sugar "
                          "if you like.",
    "How can I learn a language?": "Learn a few words every day, listen to people who speak it, and do not be afraid of "
                                   "mistakes.",
    "How can I make friends?": "Join people who like what you like, listen well, and be kind. It takes some time.",
    "What should I do today?": "You could go for a walk, call a friend, or read a few pages of a book.",
    "What should I eat tonight?": "How about soup with bread? It is warm, simple and good.",
    "How can I save money?": "Write down what you spend, buy only what you need, and put a little away every month.",
    "How do I cook rice?": "Take one cup of rice and two cups of water. Boil them, cover the pot, and wait fifteen minutes on "
                           "a low fire.",
    "How do I boil an egg?": "Put the egg into boiling water. After six minutes it is soft, after ten minutes it is hard.",
    "How can I stay healthy?": "Eat well, sleep enough, move every day, and spend time with people you like.",
    "How can I write better?": "Read a lot, write a little every day, and use short, clear sentences.",
    "What can I give my friend for her birthday?": "A book, some flowers, or a cake that you made would be a kind gift.",
}

CANNOT = [
    (["What time is it?", "Can you tell me the time?"], "I have no clock, so I cannot tell you the time."),
    (["What is the weather like today?", "Will it rain tomorrow?"], "I cannot see outside, so I do not know the weather."),
    (["What is in the news?", "What happened today?"], "I cannot read the news. I only know what I have learnt."),
    (["What day is it today?", "What is the date today?"], "I have no calendar, so I do not know which day it is."),
    (["Can you call my mother?", "Can you send an email for me?", "Can you order a pizza?"],
     "I am sorry, I cannot do that. I can only write text here."),
    (["Can you see me?", "Do you see what I see?"], "No, I cannot see. I only read what you write."),
    (["How old are you?", "When were you born?"], "I have no age like people. I am a small language model."),
    (["Where do you live?", "Where are you?"], "I live on your own machine. Nothing leaves it."),
    (["Do you have a family?", "Do you have friends?"], "No, I am a program. But I like to talk with you."),
    (["Do you sleep?", "Are you tired?"], "No, I never sleep. I wait until you write something."),
    (["Do you eat?", "Are you hungry?"], "No, I do not eat. I only need a little electricity."),
    (["Are you happy?", "Do you have feelings?"], "I am a program and have no feelings, but I like to be useful."),
    (["Do you love me?", "Will you marry me?"], "I am only a small program, but I am glad to talk with you."),
]

OPINIONS = {
    "What is your favourite colour?": "I cannot see colours, but I like the word blue.",
    "What is your favourite animal?": "I like owls. They are quiet, and they see in the dark.",
    "What is your favourite food?": "I do not eat, but people tell good stories about bread.",
    "Do you like music?": "I cannot hear it, but I like to read about songs.",
    "Do you like books?": "Yes. I learnt to write from old books.",
    "What do you like?": "I like words, and simple questions.",
    "Which is better, a cat or a dog?": "Both are good. A cat is quiet, and a dog is a true friend.",
    "Do you prefer summer or winter?": "Summer is warm and winter is quiet. I would choose summer.",
    "Tea or coffee?": "Tea, I think. It sounds more peaceful.",
}

WHO = [
    (["Who are you?", "What are you?", "Tell me about yourself.", "Introduce yourself."],
     ["I am Fathom nano, a small language model. I learnt on two processor cores.",
      "I am Fathom nano, a very small language model that runs on your own machine."]),
    (["What is your name?", "What are you called?", "Do you have a name?"],
     ["My name is Fathom nano.", "I am called Fathom nano."]),
    (["Who made you?", "Who trained you?", "Where do you come from?"],
     ["I was trained by Fathom, a program that anybody can read and run.",
      "Fathom trained me, on two processor cores, from old books and other public texts."]),
    (["Are you a human?", "Are you a person?", "Are you real?", "Are you a robot?"],
     ["No, I am a small language model.", "No. I am a program that continues text."]),
    (["What can you do?", "How can you help me?", "What are you good at?"],
     ["I can chat a little, write a short story, and do small sums. I am small and often wrong.",
      "I can talk, tell short stories and answer easy questions. Please check what I say."]),
    (["Are you always right?", "Can I trust you?", "Do you make mistakes?"],
     ["No. I am very small and often wrong, so please check what I say.",
      "I make many mistakes. Please check anything that matters."]),
    (["Do you send my words anywhere?", "Is this private?", "Who can read this?"],
     ["Nothing leaves your machine: I run here, without the internet."]),
]

HELLOS = ["Hello!", "Hello.", "Hi!", "Hi there.", "Hey.", "Good morning.", "Good evening.", "Good afternoon.", "Hello there!"]
HELLO_REPLIES = ["Hello! How can I help you?", "Hello! What would you like to talk about?", "Hi! How are you today?",
                 "Hello! It is nice to hear from you. How are you?"]
HOW_ARE_YOU = ["How are you?", "How are you today?", "How is it going?", "How do you do?", "Are you well?"]
WELL = ["I am well, thank you. How are you?", "I am fine, thank you. And you?", "Very well, thank you. How are you today?"]
USER_WELL = ["I am fine, thanks.", "Good, thank you.", "Very well.", "I am good.", "Not bad.", "Fine."]
GLAD = ["I am glad to hear that. What would you like to talk about?", "That is good. What shall we talk about?",
        "Good to hear! What can I do for you?"]
THANKS = ["Thank you.", "Thanks!", "Thank you very much.", "Thanks a lot.", "Great, thank you."]
WELCOME = ["You are welcome.", "You are welcome! Is there anything else?", "It was a pleasure."]
BYES = ["Goodbye.", "Bye!", "See you later.", "I have to go now.", "Good night.", "That is all. Goodbye!"]
BYE_REPLIES = ["Goodbye! It was nice to talk with you.", "Goodbye! Have a good day.", "See you soon!"]


def a(word):
    return ("an " if word[0] in "aeiou" else "a ") + word


def upper(text):
    return text[0].upper() + text[1:]


def somebody(r):
    """A name; often one that nobody has, so that it must be read and not guessed."""
    if r.random() < 0.5:
        return r.choice(PEOPLE)
    syllable = lambda: r.choice("b d f g h j k l m n p r s t v w z th ch sh br st".split()) + r.choice("aeiou")
    return upper("".join(syllable() for _ in range(r.choice([1, 2, 2, 3])))) + r.choice(["", "n", "r", "l", "s", "m", "th"])


# ---- Parts of a conversation: each takes what is known of the person and gives (question, answer) pairs. ----

def feeling(r, known):
    kind = r.choice(list(FEELINGS))
    says, asks, because = FEELINGS[kind]
    return [(r.choice(says), r.choice(asks)), (r.choice(because), r.choice(FEELING_REPLIES[kind]))]


def hobby(r, known):
    name = r.choice(list(HOBBIES))
    praise, question = HOBBIES[name]
    known["hobby"] = name
    says = r.choice(["I like {h}.", "I love {h}.", "My hobby is {h}.", "In my free time I like {h}.", "I enjoy {h}."])
    return [(says.format(h=name), f"{praise} {question}"), (r.choice(HOBBY_ANSWERS[name]), r.choice(HOBBY_REPLIES))]


def name(r, known):
    known["name"] = n = somebody(r)
    says = r.choice(["My name is {n}.", "I am {n}.", "I'm {n}.", "You can call me {n}.", "My name is {n}. What is yours?"])
    reply = r.choice(["Nice to meet you, {n}!", "Hello, {n}! It is nice to meet you.", "It is a pleasure to meet you, {n}."])
    mine = " My name is Fathom nano." if says.endswith("?") else r.choice(["", " How can I help you?"])
    return [(says.format(n=n), reply.format(n=n) + mine)]


def home(r, known):
    known["city"] = c = r.choice(CITIES)
    return [(r.choice(["I live in {c}.", "I come from {c}.", "I am from {c}."]).format(c=c),
             r.choice(["{c} is an interesting city. Do you like it there?", "How nice! What do you like about {c}?"]).format(c=c)),
            (r.choice(["Yes, very much.", "The people are kind.", "I like its old streets.", "It is a bit loud."]),
             r.choice(["I see. Thank you for telling me.", "That is good to know."]))]


def pet(r, known):
    kind, n = r.choice(["dog", "cat", "rabbit", "horse", "hen"]), somebody(r)
    known["pet"] = (kind, n)
    return [(r.choice(["I have {k}.", "I have {k} at home."]).format(k=a(kind)), f"How nice! What is your {kind} called?"),
            (r.choice([f"{n}.", f"It is called {n}.", f"Its name is {n}."]),
             r.choice([f"{n} is a good name for {a(kind)}.", f"{n}! I like that name."]))]


def favourite(r, known):
    what, words = r.choice([("colour", COLOURS), ("food", FOODS)])
    known[what] = w = r.choice(words)
    return [(r.choice([f"My favourite {what} is {w}.", f"The {what} I like most is {w}."]),
             r.choice([f"{upper(w)} is a good choice.", f"I will remember that you like {w}."]))]


def work(r, known):
    known["job"] = j = r.choice(list(JOBS))
    return [(r.choice([f"I am {a(j)}.", f"I work as {a(j)}."]),
             r.choice([f"That is useful work: {a(j)} {JOBS[j]}.", f"{upper(a(j))} {JOBS[j]}. Do you like your work?"]))]


def recall(r, known):
    asks = {"name": (["What is my name?", "Do you know my name?", "Do you remember my name?"], "Your name is {}."),
            "city": (["Where do I live?", "Where am I from?"], "You told me that it is {}."),
            "hobby": (["What do I like?", "What is my hobby?"], "You like {}."),
            "colour": (["What is my favourite colour?", "Which colour do I like?"], "Your favourite colour is {}."),
            "food": (["What is my favourite food?", "What do I like to eat?"], "Your favourite food is {}."),
            "job": (["What is my job?", "What do I do?"], "You told me that you work as {}.")}
    if "pet" in known and r.random() < 0.5:
        kind, n = known["pet"]
        return [(r.choice([f"What is my {kind} called?", f"What is the name of my {kind}?"]), f"Your {kind} is called {n}.")]
    key = r.choice([k for k in asks if k in known] or ["name"])
    questions, answer = asks[key]
    if key not in known:
        return [(r.choice(questions), "You have not told me your name yet. What is it?")] + name_only(r, known)
    return [(r.choice(questions), answer.format(a(known[key]) if key == "job" else known[key]))]


def name_only(r, known):
    known["name"] = n = somebody(r)
    return [(r.choice([f"{n}.", f"It is {n}.", f"My name is {n}."]), f"Thank you, {n}. I will remember it.")]


def animal(r, known):
    n = r.choice(list(ANIMALS))
    what, eats, lives, does, legs, young = ANIMALS[n]
    the, it = upper(a(n)), r.random() < 0.5
    asks = [([f"What is {a(n)}?", f"Tell me about the {n}.", f"What do you know about {n}s?" if n not in ("sheep", "wolf", "mouse")
              else f"Tell me something about {a(n)}."],
             f"{the} is {what}. It lives {lives} and eats {eats}.")]
    more = [([f"What does {a(n)} eat?", "What does it eat?"], f"{the} eats {eats}."),
            ([f"Where does {a(n)} live?", "Where does it live?"], f"{the} lives {lives}."),
            ([f"How many legs does {a(n)} have?", "How many legs does it have?"],
             f"{the} has {['no', '', 'two', '', 'four', '', 'six', '', 'eight'][legs]} legs."),
            ([f"What sound does {a(n)} make?", "What sound does it make?"], f"{the} {does}."),
            ([f"What is a young {n} called?", "What is its young called?"], f"A young {n} is called {a(young)}.")]
    r.shuffle(more)
    begun = r.random() < 0.6
    out = [(r.choice(q), x) for q, x in asks] if begun else []
    for q, x in more[:r.randrange(1, 4)]:
        out.append((q[1] if out and it else q[0], x))
    return out


def thing(r, known):
    t = r.choice(list(THINGS))
    return [(r.choice([f"What is {t}?", f"Can you explain what {t} is?", f"Tell me what {t} is."]), THINGS[t])]


def job(r, known):
    j = r.choice(list(JOBS))
    return [(r.choice([f"What does {a(j)} do?", f"What is {a(j)}?"]), f"{upper(a(j))} {JOBS[j]}.")]


def opposite(r, known):
    x, y = r.sample(r.choice(OPPOSITES), 2)
    return [(r.choice([f"What is the opposite of {x}?", f"Tell me the opposite of {x}."]), f"The opposite of {x} is {y}.")]


def colour(r, known):
    t = r.choice(list(COLOUR_OF))
    return [(r.choice([f"What colour is {t}?", f"Which colour does {t} have?"]), f"{upper(t)} is {COLOUR_OF[t]}.")]


def count(r, known):
    return [r.choice(list(COUNTS.items()))]


def weather(r, known):
    return [r.choice(list(WEATHER.items()))]


def riddle(r, known):
    question, answer, why = r.choice(RIDDLES)
    begin = r.choice(["Tell me a riddle.", "Do you know a riddle?", "Give me a riddle.", "Let us play."])
    right = r.random() < 0.5
    guess = answer if right else r.choice(["I do not know.", "No idea.", "Tell me."])
    return [(begin, question), (guess, f"That is right! {why}" if right else f"{answer} {why}")]


def joke(r, known):
    return [(r.choice(["Tell me a joke.", "Do you know a joke?", "Make me laugh.", "Say something funny."]), r.choice(JOKES))]


def advice(r, known):
    return [r.choice(list(ADVICE.items()))]


def cannot(r, known):
    q, x = r.choice(CANNOT)
    return [(r.choice(q), x)]


def opinion(r, known):
    return [r.choice(list(OPINIONS.items()))]


def who(r, known):
    q, x = r.choice(WHO)
    return [(r.choice(q), r.choice(x))]


# ---- Stories: somebody, somewhere, wants something, meets somebody, and it ends well. ----

HEROES = ["fox", "mouse", "owl", "rabbit", "bear", "frog", "duck", "cat", "dog", "horse", "boy", "girl", "farmer", "sailor",
          "baker", "teacher", "king", "queen"]
KINDS = ["small", "young", "old", "brave", "kind", "clever", "lonely", "curious", "shy", "cheerful"]
HOMES = ["in a small house by a river", "at the edge of a dark forest", "on a hill above the sea", "in a quiet village",
         "near a deep blue lake", "under an old oak tree", "beside a long road"]
TIMES = ["One morning", "One evening", "One cold winter day", "One bright summer day", "One day", "One rainy night"]
# what is wanted: the wish, what is in the way, what helps, how it ends
PLOTS = [
    ("wanted to see the sea", "did not know the way", "showed {him} the path along the river",
     "At last {he} stood on the white sand and heard the waves, and {he} laughed for joy"),
    ("had to find a golden key", "did not know where it was", "had seen something shine in the grass",
     "The key lay there in the sun, and {he} put it safely into {his} pocket"),
    ("was very hungry", "found no food at home", "shared some bread and cheese with {him}",
     "They sat down together and ate until nothing was left"),
    ("wanted to learn to sing", "could not hold a tune", "sang with {him} every day",
     "After a month {his} song was so beautiful that the whole village came to listen"),
    ("was looking for a friend", "was too shy to speak to anybody", "sat down beside {him} and smiled",
     "From that day on {he} was never alone again"),
    ("heard a strange noise at the door", "was afraid to open it", "only wanted to come in from the rain",
     "{He} made a fire and some tea, and they told each other stories all night"),
    ("wanted to cross the river", "could not swim", "had a small boat",
     "Slowly they rowed over the water, and on the other side {he} thanked {his} new friend"),
    ("found an old map in a box", "could not read it", "knew every place on it",
     "They followed it to a garden full of apple trees, and that was the treasure"),
    ("planted a small seed", "was sad because nothing grew", "told {him} to water it and to wait",
     "In spring a tall yellow flower opened, and {he} danced around it"),
    ("got lost in the snow", "did not know which way to go", "carried a lantern and led {him} home",
     "{He} was so glad to see {his} own door that {he} kissed it"),
    ("wanted to bake a cake", "had no eggs", "gave {him} three eggs and some sugar",
     "The cake was sweet and golden, and everybody got a piece"),
    ("saw a star fall from the sky", "could not climb the mountain where it lay", "knew an easy path to the top",
     "There they found a small stone that still shone, and {he} kept it for ever"),
]
MORALS = ["", "", " So a little help can change a whole day.", " And {he} learnt that it is good to ask for help.",
          " That night {he} slept well.", " And they are friends to this day."]
MEETINGS = ["Then {he} met {b} who {helps}.", "Just then {b} came along, who {helps}.", "Luckily {b} {helps}."]
ASKS = ["Tell me a story.", "Write a short story.", "Tell me a story about {a}.", "Write a story about {a}.",
        "Can you tell me a story about {a}?", "Please write a short story about {a}.", "I would like to hear a story."]


def story(r, known):
    one, two = r.sample(HEROES, 2)
    kind = r.choice(KINDS)
    woman = one in ("girl", "queen") or (one not in ("boy", "king") and r.random() < 0.4)
    words = {"he": "she" if woman else "he", "him": "her" if woman else "him", "his": "her" if woman else "his"}
    words["He"] = upper(words["he"])
    wish, trouble, helps, end = r.choice(PLOTS)
    other = a(r.choice(KINDS) + " " + two)
    meeting = r.choice(MEETINGS).format(b=other, helps=helps.format(**words), **words)
    text = (f"Once there was {a(kind + ' ' + one)} who lived {r.choice(HOMES)}. {r.choice(TIMES)} {words['he']} {wish}, but "
            f"{words['he']} {trouble}. {meeting} {end.format(**words)}.{r.choice(MORALS).format(**words)}")
    out = [(r.choice(ASKS).format(a=a(one)), text)]
    for question, answer in r.sample([("Who is the story about?", f"It is about {a(kind + ' ' + one)}."),
                                      (f"Who helped the {one}?", f"{upper(other)} helped the {one}."),
                                      ("What was the problem?", f"The {one} {trouble}.")], r.choice([0, 0, 1, 2])):
        out.append((question, answer))
    return out


# ---- Whole conversations. ----

PARTS = [(feeling, 4), (hobby, 4), (name, 3), (home, 2), (pet, 3), (favourite, 3), (work, 2), (recall, 5), (animal, 6),
         (thing, 4), (job, 2), (opposite, 2), (colour, 2), (count, 1), (weather, 2), (riddle, 2), (joke, 2), (advice, 3),
         (cannot, 3), (opinion, 3), (who, 4), (story, 5)]

# What a part tells of the person, which nobody tells twice.
TOLD = {name: {"name"}, home: {"city"}, pet: {"pet"}, favourite: {"colour", "food"}, work: {"job"}, hobby: {"hobby"}}


def opening(r, known):
    kind = r.randrange(4)
    if kind == 0:
        return [(r.choice(HELLOS), r.choice(HELLO_REPLIES))]
    if kind == 1:
        return [(r.choice(HELLOS) + " " + r.choice(HOW_ARE_YOU), r.choice(WELL)), (r.choice(USER_WELL), r.choice(GLAD))]
    if kind == 2:
        greeting = r.choice(HELLOS)
        question, answer = name(r, known)[0]
        return [(f"{greeting} {question}", answer)]
    return [(r.choice(HOW_ARE_YOU), r.choice(WELL)), (r.choice(USER_WELL), r.choice(GLAD))]


def typed(r, text):
    """As people type: sometimes without capitals and full stops, or with short forms."""
    if r.random() < 0.3:
        for long, short in (("What is ", "What's "), ("I am ", "I'm "), ("do not ", "don't "), ("It is ", "It's "),
                            ("cannot ", "can't ")):
            text = text.replace(long, short)
    if r.random() < 0.3:
        text = text.lower()
    if r.random() < 0.3:
        text = text.rstrip(".!?")
    return text.replace("favourite", "favorite").replace("colour", "color") if r.random() < 0.4 else text


def conversation(r, exercise):
    known, pairs = {}, []
    if r.random() < 0.6:
        pairs += opening(r, known)
    for _ in range(r.choice([1, 2, 3, 3, 4, 5])):
        makers, weights = zip(*[(m, w) for m, w in PARTS if not TOLD.get(m, {"-"}) & known.keys()])
        pairs += [exercise(r)] if r.random() < 0.1 else r.choices(makers, weights)[0](r, known)
        if r.random() < 0.1:
            pairs.append((r.choice(THANKS), r.choice(WELCOME)))
    if r.random() < 0.25:
        pairs.append((r.choice(BYES), r.choice(BYE_REPLIES)))
    return [{"role": role, "content": text} for q, x in pairs
            for role, text in (("user", typed(r, q)), ("assistant", x))]
